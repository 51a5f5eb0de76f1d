//! Text cleaning before byte pair encoding: what OpenAI's tokenizer has ftfy and
//! `html.unescape` do, as far as it matters for what people type as class names.

use super::html;

/// The text whose words are encoded, in lower case. See [`super::Tokenizer`] for what is
/// done and what is not.
pub(super) fn clean(text: &str) -> String {
    let fixed = fix(text);
    let unescaped = html::unescape(&html::unescape(&fixed));
    compose(&unescaped.to_lowercase())
}

/// ftfy's `fix_text`, without its repair of mojibake and with [`compose`] left to the end.
fn fix(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut markup = false;
    for line in text.split_inclusive('\n') {
        // From the first `<` on, ftfy takes the text for HTML, to be left as it is.
        markup |= line.contains('<');
        let mut line = line.to_owned();
        for _ in 0..MOST_PASSES {
            let unescaped = if markup || line.contains('<') {
                line.clone()
            } else {
                html::unescape_terminated(&line)
            };
            let fixed = fix_characters(&unescaped);
            if fixed == line {
                break;
            }
            line = fixed;
        }
        output.push_str(&line);
    }
    output
}

/// ftfy goes on until nothing changes, which takes quadratic time for `&amp;amp;amp;…`. No
/// honest text is escaped this often.
const MOST_PASSES: usize = 16;

fn fix_characters(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let character = html::windows_1252(character);
        match character {
            // A terminal's colour codes.
            '\x1b' => {
                let code = rest.as_str().strip_prefix('[');
                let code = code
                    .map(|code| code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
                if let Some(code) = code
                    && code.starts_with(|c: char| c.is_ascii_alphabetic())
                {
                    rest = code[1..].chars();
                }
            }
            // Control characters, the byte order mark, annotation anchors.
            '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f' => {}
            '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}' => {}
            // Curly quotes.
            '\u{2bc}' | '\u{2018}'..='\u{201b}' => output.push('\''),
            '\u{201c}'..='\u{201f}' => output.push('"'),
            '\u{2028}' | '\u{2029}' | '\u{85}' => output.push('\n'),
            // Full-width ASCII, half-width katakana and signs.
            '\u{3000}' => output.push(' '),
            '\u{ff01}'..='\u{ff5e}' => {
                let ascii = u32::from(character) - 0xff01 + u32::from('!');
                output.extend(char::from_u32(ascii));
            }
            '\u{ff5f}'..='\u{ff9f}' => output.extend(nth(KATAKANA, character, 0xff5f)),
            '\u{ffe3}' => output.push_str(" \u{304}"),
            '\u{ffe0}'..='\u{ffe6}' => output.extend(nth("¢£¬ ¦¥₩", character, 0xffe0)),
            '\u{ffe8}'..='\u{ffee}' => output.extend(nth("│←↑→↓■○", character, 0xffe8)),
            _ => match ligature(character) {
                Some(letters) => output.push_str(letters),
                None => output.push(character),
            },
        }
    }
    output
}

const KATAKANA: &str = "⦅⦆。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノ\
ハヒフヘホマミムメモヤユヨラリルレロワン\u{3099}\u{309a}";

fn nth(characters: &str, character: char, first: u32) -> Option<char> {
    characters
        .chars()
        .nth((u32::from(character) - first) as usize)
}

fn ligature(character: char) -> Option<&'static str> {
    Some(match character {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "'n",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}

/// Joins letters and the combining marks right behind them (`e` + U+0301 is `é`): Unicode's
/// NFC for lower-case text whose marks are in canonical order already, as keyboards and
/// file systems write them.
fn compose(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut output = String::with_capacity(text.len());
    let mut pending: Option<char> = None;
    for character in text.chars().flat_map(decomposed) {
        pending = match pending.and_then(|previous| composed(previous, character)) {
            Some(joined) => Some(joined),
            None => {
                output.extend(pending);
                Some(character)
            }
        };
    }
    output.extend(pending);
    output
}

/// Lines of a character and what NFC makes of it, in hexadecimal.
const DECOMPOSITIONS: &str = include_str!("decompositions.txt");

fn decomposed(character: char) -> impl Iterator<Item = char> {
    // Where the table's characters are, to spare all others the search.
    let listed = matches!(character,
        '\u{340}'..='\u{387}' | '\u{958}'..='\u{fb9}' | '\u{1f71}'..='\u{2adc}'
        | '\u{fb1d}'..='\u{fb4e}' | '\u{1d15e}'..='\u{1d1c0}');
    let codes = |line: &'static str| {
        let codes = line.split(' ').map(|code| u32::from_str_radix(code, 16));
        codes.filter_map(|code| char::from_u32(code.ok()?))
    };
    let replacement = listed
        .then(|| {
            DECOMPOSITIONS
                .lines()
                .find(|line| codes(line).next() == Some(character))
        })
        .flatten();
    let kept = replacement.is_none().then_some(character);
    kept.into_iter()
        .chain(replacement.into_iter().flat_map(codes).skip(1))
}

/// Lines of a mark in hexadecimal, a blank, then pairs of a base and the two composed.
const COMPOSITIONS: &str = include_str!("compositions.txt");

fn composed(base: char, mark: char) -> Option<char> {
    if u32::from(mark) < 0x300 {
        return None;
    }
    if let Some(syllable) = hangul(u32::from(base), u32::from(mark)) {
        return Some(syllable);
    }
    COMPOSITIONS.lines().find_map(|line| {
        let (code, pairs) = line.split_once(' ')?;
        if u32::from_str_radix(code, 16) != Ok(u32::from(mark)) {
            return None;
        }
        let mut pairs = pairs.chars();
        while let (Some(first), Some(joined)) = (pairs.next(), pairs.next()) {
            if first == base {
                return Some(joined);
            }
        }
        None
    })
}

/// Korean syllables are composed by arithmetic (The Unicode Standard, section 3.12).
fn hangul(base: u32, mark: u32) -> Option<char> {
    const LEADING: u32 = 0x1100;
    const VOWEL: u32 = 0x1161;
    const TRAILING: u32 = 0x11a7; // one before the first
    const SYLLABLE: u32 = 0xac00;
    const VOWELS: u32 = 21;
    const TRAILINGS: u32 = 28;
    match (base, mark) {
        (LEADING..0x1113, VOWEL..0x1176) => {
            char::from_u32(SYLLABLE + ((base - LEADING) * VOWELS + (mark - VOWEL)) * TRAILINGS)
        }
        (SYLLABLE..0xd7a4, 0x11a8..0x11c3) if (base - SYLLABLE).is_multiple_of(TRAILINGS) => {
            char::from_u32(base + (mark - TRAILING))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning() {
        for (text, expected) in [
            ("A Photo", "a photo"),
            ("\u{201c}don\u{2019}t\u{201d}", "\"don't\""),
            ("Rock &amp;amp; Roll", "rock & roll"),
            ("ﬁne ﬂuﬃest", "fine fluffiest"),
            ("ＬＯＵＤ\u{3000}ＮＯＩＳＥＳ", "loud noises"),
            ("Ｕﾀｰﾝ ﾊﾞﾅﾅ", "uターン バナナ"),
            ("\x1b[36;44mblue\x1b[0m", "blue"),
            ("\x1bno\x1b[;", "no[;"),
            ("a\u{0}b\u{feff}c\u{7f}", "abc"),
            ("e\u{301} E\u{302}\u{301}", "é ế"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("it\u{92}s", "it's"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_decomposition_is_found() {
        for line in DECOMPOSITIONS.lines() {
            let codes = line
                .split(' ')
                .map(|code| u32::from_str_radix(code, 16).unwrap());
            let characters: Vec<char> = codes.map(|code| char::from_u32(code).unwrap()).collect();
            assert!(characters.len() > 1, "{line}");
            assert!(
                decomposed(characters[0]).eq(characters[1..].iter().copied()),
                "{line}"
            );
        }
        assert!(decomposed('é').eq(['é']));
    }

    #[test]
    fn every_composition_is_well_formed() {
        for line in COMPOSITIONS.lines() {
            let (code, pairs) = line.split_once(' ').unwrap();
            let mark = char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
            let pairs: Vec<char> = pairs.chars().collect();
            assert_eq!(pairs.len() % 2, 0, "{line}");
            for pair in pairs.chunks_exact(2) {
                assert_eq!(composed(pair[0], mark), Some(pair[1]));
            }
        }
    }
}
