//! Character references (`&amp;`, `&#233;`), as Python's `html.unescape` and ftfy read them.

/// Replaces character references the lenient way of `html.unescape`: the semicolon may be
/// missing behind numbers and behind the names of HTML 2, which may even run on into the
/// word (`&copyright` is `©right`).
pub(super) fn unescape(text: &str) -> String {
    replace_references(text, |reference| {
        if reference.starts_with('#') {
            let (value, length) = numeric(reference)?;
            let semicolon = usize::from(reference[length..].starts_with(';'));
            return Some((value, length + semicolon));
        }
        let end = reference
            .char_indices()
            .take(NAME_LENGTH + 1)
            .find(|&(at, c)| at == NAME_LENGTH || "\t\n\x0c <&#;".contains(c))
            .map_or(reference.len(), |(at, _)| at);
        let name = &reference[..end];
        if reference[end..].starts_with(';')
            && let Some(character) = named(name)
        {
            return Some((character.into(), end + 1));
        }
        // The longest beginning that may stand without a semicolon.
        let (character, length) = name
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .filter(|&length| length > 1)
            .filter_map(|length| Some((named_without_semicolon(&name[..length])?, length)))
            .next_back()?;
        Some((character.into(), length))
    })
}

/// Replaces character references the strict way of ftfy: only with their semicolon, and
/// names also in capitals (`&EACUTE;`).
pub(super) fn unescape_terminated(text: &str) -> String {
    replace_references(text, |reference| {
        let end = reference.find(';')?;
        let (name, length) = (&reference[..end], end + 1);
        if name.starts_with('#') {
            let (value, read) = numeric(reference)?;
            return (read == end).then_some((value, length));
        }
        if let Some(character) = named(name) {
            return Some((character.into(), length));
        }
        let capitals = name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let character = named(&name.to_ascii_lowercase()).filter(|_| capitals)?;
        Some((character.to_uppercase().collect(), length))
    })
}

/// Hands what follows each `&` to `reference`, which says what replaces it and how many
/// bytes of it that covers, or `None` to leave it.
fn replace_references(text: &str, reference: impl Fn(&str) -> Option<(String, usize)>) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match reference(rest) {
            Some((value, length)) => {
                output.push_str(&value);
                rest = &rest[length..];
            }
            None => output.push('&'),
        }
    }
    output.push_str(rest);
    output
}

/// `#233` or `#xe9` at the start of `reference`: its value and its length, without the
/// semicolon. What HTML forbids becomes nothing, what Unicode lacks the replacement
/// character.
fn numeric(reference: &str) -> Option<(String, usize)> {
    let digits = reference.strip_prefix('#')?;
    let hexadecimal = digits.strip_prefix(['x', 'X']);
    let (digits, radix) = hexadecimal.map_or((digits, 10), |digits| (digits, 16));
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let length = reference.len() - digits.len() + end;
    let value = u32::from_str_radix(digits[..end].trim_start_matches('0'), radix);
    let value = match value {
        Ok(value) => value,
        Err(_) if digits[..end].bytes().all(|digit| digit == b'0') => 0,
        Err(_) => u32::MAX,
    };
    let text = match value {
        0x80..=0x9f => windows_1252(value as u8 as char).into(),
        0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef => String::new(),
        0xfffe..=0x10_ffff if value & 0xfffe == 0xfffe => String::new(),
        0 => char::REPLACEMENT_CHARACTER.into(),
        _ => char::from_u32(value)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
            .into(),
    };
    Some((text, length))
}

/// What U+0080 to U+009F stand for on the web: the Windows-1252 character of that byte, or
/// itself where there is none.
pub(super) fn windows_1252(control: char) -> char {
    const CHARACTERS: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    let index = u32::from(control).wrapping_sub(0x80) as usize;
    CHARACTERS.get(index).copied().unwrap_or(control)
}

fn named(name: &str) -> Option<char> {
    let listed = NAMES.split(' ').find_map(|entry| {
        let mut value = entry.strip_prefix(name)?.chars();
        value.next().filter(|_| value.next().is_none())
    });
    listed.or_else(|| in_capitals(name))
}

/// The names of HTML 2: Latin-1, and those in capitals.
fn named_without_semicolon(name: &str) -> Option<char> {
    named(name).filter(|&character| character <= 'ÿ' && name != "apos")
}

fn in_capitals(name: &str) -> Option<char> {
    Some(match name {
        "AMP" => '&',
        "COPY" => '©',
        "GT" => '>',
        "LT" => '<',
        "QUOT" => '"',
        "REG" => '®',
        _ => return None,
    })
}

/// `html.unescape` reads no further for a name.
const NAME_LENGTH: usize = 32;

/// The names of HTML 4, each followed by its character, and `apos` of XML. HTML 5 has 2,000
/// more, for mathematics mostly.
const NAMES: &str = "apos' \
quot\" amp& lt< gt> nbsp\u{a0} iexcl¡ cent¢ pound£ curren¤ yen¥ brvbar¦ sect§ uml¨ copy© ordfª \
laquo« not¬ shy\u{ad} reg® macr¯ deg° plusmn± sup2² sup3³ acute´ microµ para¶ middot· cedil¸ \
sup1¹ ordmº raquo» frac14¼ frac12½ frac34¾ iquest¿ AgraveÀ AacuteÁ AcircÂ AtildeÃ AumlÄ AringÅ \
AEligÆ CcedilÇ EgraveÈ EacuteÉ EcircÊ EumlË IgraveÌ IacuteÍ IcircÎ IumlÏ ETHÐ NtildeÑ OgraveÒ \
OacuteÓ OcircÔ OtildeÕ OumlÖ times× OslashØ UgraveÙ UacuteÚ UcircÛ UumlÜ YacuteÝ THORNÞ szligß \
agraveà aacuteá acircâ atildeã aumlä aringå aeligæ ccedilç egraveè eacuteé ecircê eumlë igraveì \
iacuteí icircî iumlï ethð ntildeñ ograveò oacuteó ocircô otildeõ oumlö divide÷ oslashø ugraveù \
uacuteú ucircû uumlü yacuteý thornþ yumlÿ OEligŒ oeligœ ScaronŠ scaronš YumlŸ fnofƒ circˆ tilde˜ \
AlphaΑ BetaΒ GammaΓ DeltaΔ EpsilonΕ ZetaΖ EtaΗ ThetaΘ IotaΙ KappaΚ LambdaΛ MuΜ NuΝ XiΞ OmicronΟ \
PiΠ RhoΡ SigmaΣ TauΤ UpsilonΥ PhiΦ ChiΧ PsiΨ OmegaΩ alphaα betaβ gammaγ deltaδ epsilonε zetaζ \
etaη thetaθ iotaι kappaκ lambdaλ muμ nuν xiξ omicronο piπ rhoρ sigmafς sigmaσ tauτ upsilonυ phiφ \
chiχ psiψ omegaω thetasymϑ upsihϒ pivϖ ensp\u{2002} emsp\u{2003} thinsp\u{2009} zwnj\u{200c} \
zwj\u{200d} lrm\u{200e} rlm\u{200f} ndash– mdash— lsquo‘ rsquo’ sbquo‚ ldquo“ rdquo” bdquo„ \
dagger† Dagger‡ bull• hellip… permil‰ prime′ Prime″ lsaquo‹ rsaquo› oline‾ frasl⁄ euro€ imageℑ \
weierp℘ realℜ trade™ alefsymℵ larr← uarr↑ rarr→ darr↓ harr↔ crarr↵ lArr⇐ uArr⇑ rArr⇒ dArr⇓ hArr⇔ \
forall∀ part∂ exist∃ empty∅ nabla∇ isin∈ notin∉ ni∋ prod∏ sum∑ minus− lowast∗ radic√ prop∝ \
infin∞ ang∠ and∧ or∨ cap∩ cup∪ int∫ there4∴ sim∼ cong≅ asymp≈ ne≠ equiv≡ le≤ ge≥ sub⊂ sup⊃ nsub⊄ \
sube⊆ supe⊇ oplus⊕ otimes⊗ perp⊥ sdot⋅ lceil⌈ rceil⌉ lfloor⌊ rfloor⌋ lang⟨ rang⟩ loz◊ spades♠ \
clubs♣ hearts♥ diams♦";
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient() {
        for (text, expected) in [
            ("", ""),
            ("a & b", "a & b"),
            ("salt &amp; pepper", "salt & pepper"),
            ("salt &amp pepper", "salt & pepper"),
            ("&amp;amp;", "&amp;"),
            ("AT&T", "AT&T"),
            ("&copyright", "©right"),
            ("&notit;", "¬it;"),
            ("&hellip;", "…"),
            ("&hellip", "&hellip"),
            ("&apos;&apos", "'&apos"),
            ("caf&eacute;", "café"),
            ("&sup1;&sup;", "¹⊃"),
            ("&#233;&#xE9;&#Xe9 x", "éééx".replace('x', " x").as_str()),
            ("&#0;&#150;&#1;&#xFFFE;", "\u{fffd}–"),
            (
                "&#xD800;&#x110000;&#99999999999999999999;",
                "\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("&#;&#x;&;&", "&#;&#x;&;&"),
            ("&\u{e9};&日本", "&\u{e9};&日本"),
        ] {
            assert_eq!(unescape(text), expected, "{text}");
        }
    }

    #[test]
    fn strict() {
        for (text, expected) in [
            ("salt &amp pepper", "salt &amp pepper"),
            ("P&EACUTE;REZ", "PÉREZ"),
            ("STRA&SZLIG;E", "STRASSE"),
            ("&nTILDE;", "&nTILDE;"),
            ("&#233;&#xe9;&#233x;", "éé&#233x;"),
            ("&lt;b&gt;", "<b>"),
        ] {
            assert_eq!(unescape_terminated(text), expected, "{text}");
        }
    }
}
