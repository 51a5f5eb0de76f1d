//! What a person does on a good day.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::stage::{Stage, encoded, noise, sample};
use xtask::webdriver::Options;

const SAMPLES: [&str; 3] = ["astronaut.jpg", "coffee.jpg", "rocket.jpg"];

/// The number in a text such as `> 99.9 %`.
fn percent(text: &str) -> f64 {
    text.trim_start_matches(['<', '>', ' '])
        .trim_end_matches(" %")
        .parse()
        .unwrap()
}

fn with_samples() -> Stage {
    let stage = Stage::ready(&Options::default());
    stage.show(&SAMPLES.map(sample), 300);
    stage
}

#[test]
fn photos_get_their_verdicts() {
    let stage = Stage::ready(&Options::default());
    stage.browser.screenshot("empty");
    stage.show(&SAMPLES.map(sample), 300);
    let astronaut = stage.card("astronaut.jpg");
    assert_eq!(astronaut["device"], "cpu");
    for file in SAMPLES {
        let card = stage.card(file);
        let verdict = card["verdict"].as_str().unwrap();
        assert!(matches!(verdict, "in" | "out"), "{card}");
        assert!(
            card["score"]
                .as_str()
                .unwrap()
                .parse::<f64>()
                .unwrap()
                .is_finite()
        );
        let text = card["text"].as_str().unwrap();
        // The badge is in capitals by the style sheet.
        let words = if verdict == "in" {
            format!("IN {}", card["class"].as_str().unwrap())
        } else {
            "OUT none of these".to_owned()
        };
        let flat: Vec<&str> = text.split_whitespace().collect();
        assert!(flat.join(" ").contains(&words), "{text}");
        assert!(
            text.contains("of 100 photos that belong") && text.contains("threshold"),
            "{text}"
        );
    }
    // Newest first, and said aloud.
    let first = stage
        .browser
        .run("return document.querySelector('.card').dataset.file");
    assert_eq!(first, "rocket.jpg");
    stage.browser.wait(
        "a spoken verdict",
        300,
        "return document.querySelector('#announcer').textContent.includes('.jpg')",
    );
    assert!(stage.text("#tally-text").starts_with("3 photos:"));
    stage.browser.screenshot("verdicts");
}

#[test]
fn the_threshold_moves_every_verdict_at_once() {
    let stage = with_samples();
    let before = stage.card("astronaut.jpg")["score"].clone();
    let set = |value: &str| {
        stage.browser.run_with(
            "const slider = document.querySelector('#threshold'); slider.value = arguments[0]; slider.dispatchEvent(new Event('input', { bubbles: true }))",
            json!([value]),
        );
    };
    let verdicts = |wanted: &str| {
        SAMPLES
            .iter()
            .all(|file| stage.card(file)["verdict"] == wanted)
    };
    set("1000");
    let strict = stage.text("#rate-hit");
    stage.browser.screenshot("threshold-high");
    // Nothing is as typical as the most typical photo that the threshold can ask for.
    assert!(verdicts("out"), "{strict}");
    set("0");
    let lax = stage.text("#rate-hit");
    assert!(percent(&lax) > percent(&strict), "{lax} {strict}");
    assert_eq!(
        stage.card("astronaut.jpg")["score"],
        before,
        "the score does not depend on the threshold"
    );
    assert!(verdicts("in") || percent(&lax) < 100.0);
    stage.browser.click("#threshold-reset");
    let kept = percent(&stage.text("#rate-hit"));
    assert!((94.9..=97.0).contains(&kept), "{kept}");
}

#[test]
fn methods_switch_without_reading_again() {
    let stage = with_samples();
    let methods = stage
        .browser
        .run("return [...document.querySelectorAll('#methods input')].map((input) => input.value)");
    let methods: Vec<&str> = methods
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for wanted in ["negprompt", "mcm", "neglabel", "csp", "max-logit", "energy"] {
        assert!(methods.contains(&wanted), "{methods:?}");
    }
    let mut seen = Vec::new();
    for method in &methods {
        stage.browser.run_with(
            "document.querySelector(`#methods [value=${arguments[0]}]`).click()",
            json!([method]),
        );
        // By the next frame, with no work in between: nothing is computed anew.
        stage.browser.await_script(
            "return new Promise((drawn) =>
                requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))",
        );
        seen.push(
            stage.card("coffee.jpg")["score"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
        assert!(
            stage
                .browser
                .run("return document.querySelector('#queue').hidden")
                .as_bool()
                .unwrap()
        );
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), methods.len(), "each method has its own score");
}

#[test]
fn what_was_measured_can_be_seen() {
    let stage = Stage::ready(&Options::default());
    // From tab to tab by keyboard.
    stage
        .browser
        .run("document.querySelector('#tab-verdicts').focus()");
    stage.browser.press("\u{e014}\u{e014}");
    let look = "
        const text = (element) => element.textContent;
        const view = document.querySelector('#view-measured');
        return {
            shown: !view.hidden && document.querySelector('#tab-measured').ariaSelected === 'true',
            heads: [...view.querySelectorAll('thead th')].map(text),
            methods: [...view.querySelectorAll('tbody th')].map(text),
            cells: [...view.querySelectorAll('tbody tr')].map((row) => row.children.length),
            figures: [...view.querySelectorAll('tbody tr')].map((row) => Number(row.children[2].textContent)),
            current: [...view.querySelectorAll('[aria-current] th')].map(text),
            roc: view.querySelectorAll('#figure-roc svg').length,
            lines: view.querySelectorAll('#figure-roc .line').length,
            reliability: view.querySelector('#figure-reliability .line')?.getAttribute('d'),
            losses: view.querySelectorAll('#figure-losses svg').length,
            data: [...view.querySelectorAll('#measured-data li')].map(text),
        }";
    let seen = stage.browser.run(look);
    assert_eq!(seen["shown"], true, "{seen}");
    let list = |seen: &Value, part: &str| seen[part].as_array().unwrap().clone();
    let methods = list(&seen, "methods");
    let offered = stage
        .browser
        .run("return document.querySelectorAll('#methods input').length");
    assert_eq!(offered, methods.len());
    for set in ["average", "drawings", "objects", "scenes", "textures"] {
        assert!(list(&seen, "heads").contains(&json!(set)), "{seen}");
    }
    // A name, five times two rates, and how often the class is right.
    assert!(list(&seen, "cells").iter().all(|cells| *cells == 12));
    let rates: Vec<f64> = list(&seen, "figures")
        .iter()
        .map(|rate| rate.as_f64().unwrap())
        .collect();
    assert!(
        rates.is_sorted() && rates[0] > 0.0 && rates[0] < 100.0,
        "{rates:?}"
    );
    assert_eq!((&seen["roc"], &seen["losses"]), (&json!(4), &json!(2)));
    assert_eq!(seen["lines"], 4 * methods.len());
    let data = list(&seen, "data");
    assert!(
        data.iter()
            .any(|set| set.as_str().unwrap().contains("Caltech-101")),
        "{data:?}"
    );

    // Another method stands out when it is chosen, and its probabilities are other ones.
    stage
        .browser
        .run("document.querySelector('#methods [value=msp]').click()");
    let other = stage.browser.run(look);
    assert_eq!(seen["current"], json!(["NegPrompt"]));
    assert_eq!(other["current"], json!(["MSP"]));
    assert!(other["reliability"].is_string());
    assert_ne!(other["reliability"], seen["reliability"]);
    stage.browser.screenshot("measured");
    stage.browser.chromium(
        "Emulation.setDeviceMetricsOverride",
        json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true }),
    );
    let overflow = "return document.documentElement.scrollWidth - window.innerWidth";
    assert!(stage.browser.run(overflow).as_i64().unwrap() <= 0);
    stage.browser.screenshot("measured-phone");
}

#[test]
fn classes_can_be_edited() {
    let stage = with_samples();
    let classes = "#classes";
    let threshold = stage.text("#threshold-value");
    let before = percent(&stage.text("#rate-false"));
    let own = stage
        .browser
        .run("return document.querySelector('#classes').value");
    let write = |text: &str| {
        stage.browser.run_with(
            "const area = document.querySelector('#classes'); area.value = arguments[0]; area.dispatchEvent(new Event('input'))",
            json!([text]),
        );
        stage.browser.click("#classes-apply");
    };
    write("rocket\nastronaut\nespresso\nqwzxv gadget");
    stage.browser.wait(
        "edited classes",
        300,
        "return document.querySelector('#classes-count').textContent === '4'",
    );
    assert!(
        stage.text("#classes-warnings").contains("“qwzxv”"),
        "{}",
        stage.text("#classes-warnings")
    );
    for file in SAMPLES {
        let card = stage.card(file);
        let class = card["class"].as_str().unwrap();
        assert!(
            ["rocket", "astronaut", "espresso", "qwzxv gadget"].contains(&class),
            "{class}"
        );
        // What was measured with other classes is not said of these.
        let text = card["text"].as_str().unwrap();
        assert!(text.contains("none of the bundle's classes"), "{text}");
        assert!(!text.contains("photos that belong"), "{text}");
    }
    // The map has no points of a class that the bundle does not know, and names none.
    stage
        .browser
        .run("document.querySelector('.card[data-file=\"coffee.jpg\"] .act-why').click()");
    let caption = stage.text("#figure-map figcaption p");
    assert!(
        !caption.is_empty() && !caption.contains("larger points"),
        "{caption}"
    );
    // And the next photo is held against them.
    stage.show(&[sample("cat.jpg")], 120);
    let class = stage.card("cat.jpg")["class"].clone();
    assert!(["rocket", "astronaut", "espresso", "qwzxv gadget"].contains(&class.as_str().unwrap()));
    // The threshold went with the scores: as many photos of nothing are let in as before.
    assert_eq!(stage.text("#rate-hit"), "–");
    let let_in = percent(&stage.text("#rate-false"));
    assert!((let_in - before).abs() < 2.0, "{let_in} % after {before} %");
    assert_ne!(stage.text("#threshold-value"), threshold);
    assert_eq!(stage.card("coffee.jpg")["verdict"], "in");
    stage
        .browser
        .run("document.querySelector('#panel-classes').scrollIntoView()");
    stage.browser.screenshot("classes-edited");
    // A list that cannot be used is refused, and the old one counts on.
    write("alone");
    assert!(
        stage
            .text("#classes-warnings")
            .contains("at least two names")
    );
    assert_eq!(stage.text("#classes-count"), "4");
    stage.browser.click("#classes-reset");
    stage.browser.wait(
        "the bundle's classes",
        300,
        "return document.querySelector('#classes-reset').hidden",
    );
    assert_eq!(
        stage.browser.run_with(
            "return document.querySelector(arguments[0]).value",
            json!([classes])
        ),
        own
    );
    assert_eq!(stage.text("#threshold-value"), threshold);
}

#[test]
fn why_shows_the_figures_with_the_photo() {
    let stage = with_samples();
    stage
        .browser
        .run("document.querySelector('.card[data-file=\"coffee.jpg\"] .act-why').click()");
    assert_eq!(stage.text("#why-title"), "coffee.jpg");
    let figures = "return [...document.querySelectorAll('.figures figure')].filter((figure) => !figure.hidden && figure.querySelector('svg')).map((figure) => figure.id)";
    let figures = stage.browser.run(figures);
    for id in ["figure-similarity", "figure-score", "figure-map"] {
        assert!(
            figures
                .as_array()
                .unwrap()
                .iter()
                .any(|figure| figure == id),
            "{figures}"
        );
    }
    let photos = stage
        .browser
        .run("return document.querySelectorAll('#figure-map .map-photo').length");
    assert_eq!(photos, 3);
    assert!(stage.text("#figure-similarity").contains("this photo"));
    stage.browser.screenshot("why");
    // The photo on the map leads to its own figures.
    stage.browser.run("document.querySelector('#figure-map .map-photo:not([data-chosen=true])').dispatchEvent(new MouseEvent('click', { bubbles: true }))");
    assert_ne!(stage.text("#why-title"), "coffee.jpg");
}

#[test]
fn many_photos_can_be_cancelled() {
    let stage = Stage::ready(&Options::default());
    let photos: Vec<_> = (0..120)
        .map(|salt| {
            stage.file(
                &format!("photo {salt}.jpg"),
                &encoded(&noise(640, 480, salt), image::ImageFormat::Jpeg),
            )
        })
        .collect();
    stage.browser.upload("#photos", &photos);
    stage.browser.wait(
        "a first card",
        300,
        "return document.querySelectorAll('.card').length > 1",
    );
    assert!(stage.text("#queue-text").contains("of 120 photos"));
    stage.browser.screenshot("queue");
    // By script: the button moves when the first cards push it.
    stage
        .browser
        .run("document.querySelector('#queue-cancel').click()");
    stage.browser.wait(
        "an end of the queue",
        300,
        "return document.querySelector('#queue').hidden",
    );
    let count = stage.count();
    assert!((2..120).contains(&count), "{count}");
    // It asks first: nothing brings them back.
    stage.browser.click("#clear");
    assert_eq!(stage.count(), count);
    let asked = "return document.querySelector('#clear').textContent";
    let question = stage.browser.run(asked);
    assert!(
        question.as_str().unwrap().starts_with("Clear ")
            && question.as_str().unwrap().ends_with("photos?"),
        "{question}"
    );
    stage.browser.wait(
        "the question to be taken back",
        30,
        "return document.querySelector('#clear').textContent === 'Clear everything'",
    );
    stage.browser.click("#clear");
    assert_eq!(stage.count(), count);
    stage.browser.click("#clear");
    assert_eq!(stage.count(), 0);
    assert_eq!(stage.browser.run(asked), "Clear everything");
    assert_eq!(
        stage.browser.run("return document.body.dataset.photos"),
        "none"
    );
}

#[test]
fn verdicts_can_be_taken_away() {
    let stage = with_samples();
    // What would be saved is caught on its way.
    stage.browser.run(
        "window.saved = []; window.copied = null;
         const address = URL.createObjectURL;
         URL.createObjectURL = (blob) => { window.saved.push(blob); return address.call(URL, blob); };
         HTMLAnchorElement.prototype.click = function () { window.saved.push(this.download); };
         navigator.clipboard.writeText = async (text) => { window.copied = text; };",
    );
    stage.browser.click("#export-csv");
    stage.browser.click("#export-json");
    stage
        .browser
        .run("document.querySelector('.card[data-file=\"coffee.jpg\"] .act-copy').click()");
    let coffee = stage.card("coffee.jpg");
    let copied = stage.browser.run("return window.copied");
    assert!(
        copied.as_str().unwrap().starts_with("coffee.jpg\n"),
        "{copied}"
    );
    // It says what the card says.
    let bars = stage.browser.run(
        "return [...document.querySelectorAll('.card[data-file=\"coffee.jpg\"] .top li')].map((bar) => [...bar.children].map((part) => part.textContent).join(' ')).join('\\n')",
    );
    assert!(
        copied.as_str().unwrap().ends_with(bars.as_str().unwrap()),
        "{copied} {bars}"
    );
    let saved = stage.browser.await_script(
        "return Promise.all(window.saved.map((part) => part.text ? part.text() : part))",
    );
    assert_eq!(saved[1], "verdicts.csv");
    // Reading it as text takes the mark away by which Excel knows UTF-8.
    let mark = "return [...new Uint8Array(await window.saved[0].arrayBuffer()).slice(0, 3)]";
    assert_eq!(stage.browser.await_script(mark), json!([0xEF, 0xBB, 0xBF]));
    assert_eq!(saved[3], "verdicts.json");
    let csv = saved[0].as_str().unwrap();
    assert_eq!(csv.trim_end().lines().count(), 4, "{csv}");
    let json: Value = serde_json::from_str(saved[2].as_str().unwrap()).unwrap();
    let record = json
        .as_array()
        .unwrap()
        .iter()
        .find(|record| record["file"] == "coffee.jpg")
        .unwrap();
    assert_eq!(record["verdict"], coffee["verdict"]);
    assert_eq!(record["class"], coffee["class"]);
    assert!(record["none"].is_number(), "{record}");
    assert_eq!(record["class_list"], "bundle");
    // The card's shares are there beside the probabilities.
    let share = record["top5"][0]["share"].as_f64().unwrap();
    assert!(share >= record["top5"][0]["probability"].as_f64().unwrap());
    let shown = bars.as_str().unwrap().lines().next().unwrap();
    let percent = shown.rsplit(' ').nth(1).unwrap();
    assert!(
        (percent.parse::<f64>().unwrap() - share * 100.0).abs() < 1.0,
        "{shown} {share}"
    );
    let score = coffee["score"].as_str().unwrap();
    assert_eq!(record["score"].to_string(), score);
    let start = format!(
        "coffee.jpg,{},{},{score}",
        record["verdict"].as_str().unwrap(),
        record["class"].as_str().unwrap()
    );
    assert!(csv.lines().any(|line| line.starts_with(&start)), "{csv}");
}

#[test]
fn the_way_back_leads_from_view_to_view() {
    let stage = with_samples();
    let is = |view: &str| {
        let shown = format!(
            "return document.querySelector('#tab-{view}').getAttribute('aria-selected') === 'true' && !document.querySelector('#view-{view}').hidden"
        );
        stage.browser.wait(view, 30, &shown);
    };
    stage
        .browser
        .run("document.querySelector('.card .act-why').click()");
    is("why");
    stage
        .browser
        .run("document.querySelector('#tab-measured').click()");
    is("measured");
    stage.browser.run("setTimeout(() => history.back())");
    is("why");
    stage.browser.run("setTimeout(() => history.back())");
    is("verdicts");
    stage.browser.run("setTimeout(() => history.forward())");
    is("why");
    // What is skipped to is there.
    let skips = "return [...document.querySelectorAll('.skip')].filter((link) => getComputedStyle(link).display !== 'none').map((link) => link.getAttribute('href'))";
    assert_eq!(stage.browser.run(skips), json!(["#settings"]));
    // A jump within the page is no view.
    stage.browser.run("location.hash = 'settings'");
    stage
        .browser
        .wait("the jump", 30, "return location.hash === '#settings'");
    is("why");
    assert_eq!(stage.count(), SAMPLES.len());
}

#[test]
fn samples_are_one_click_away() {
    let stage = Stage::ready(&Options::default());
    stage.browser.click("[data-sample='cat.jpg']");
    stage.browser.wait(
        "its card",
        300,
        "return document.querySelector('.card[data-file=\"cat.jpg\"]') !== null",
    );
    // A photo that came before the model is read once it is there.
    stage.browser.open(&stage.address);
    stage.browser.click("[data-sample='coffee.jpg']");
    stage.browser.wait(
        "its card",
        300,
        "return document.querySelector('.card[data-file=\"coffee.jpg\"]') !== null",
    );
}

/// What a key did may hide the button that it was pressed on; the next key has a place all the same.
#[test]
fn the_keyboard_always_has_a_place() {
    let stage = Stage::ready(&Options::default());
    let press = |selector: &str, ready: &str, place: &str| {
        stage.browser.wait(selector, 120, ready);
        let focus = "document.querySelector(arguments[0]).focus()";
        stage.browser.run_with(focus, json!([selector]));
        stage.browser.press("\u{e007}");
        let script = format!("return document.activeElement.id === '{place}'");
        stage
            .browser
            .wait(&format!("{selector} to {place}"), 60, &script);
    };
    let enabled = |selector: &str| {
        format!(
            "const element = document.querySelector('{selector}'); return element && !element.disabled && element.offsetParent !== null"
        )
    };
    press("#samples button", "return true", "tab-verdicts");
    let card = "return document.querySelector('.card[data-verdict=in], .card[data-verdict=out]') && document.querySelector('#queue').hidden";
    stage.browser.wait("a verdict", 120, card);
    press(".card .act-why", "return true", "tab-why");
    stage.browser.run(
        "const slider = document.querySelector('#threshold');
         slider.value = 900;
         slider.dispatchEvent(new Event('input'));
         slider.dispatchEvent(new Event('change'));
         const area = document.querySelector('#classes');
         area.value = 'espresso\\nacorn';
         area.dispatchEvent(new Event('input'));",
    );
    press(
        "#threshold-reset",
        &enabled("#threshold-reset"),
        "threshold",
    );
    press("#classes-apply", &enabled("#classes-apply"), "classes");
    press("#classes-reset", &enabled("#classes-reset"), "classes");
    stage
        .browser
        .run("document.querySelector('#tab-verdicts').click()");
    press("#clear", &enabled("#clear"), "clear");
    press("#clear", &enabled("#clear"), "cards");
}

#[test]
fn the_keyboard_alone_is_enough() {
    let stage = with_samples();
    stage
        .browser
        .run("document.querySelector('#tab-verdicts').focus()");
    stage.browser.press("\u{e014}");
    assert_eq!(
        stage.browser.run("return document.activeElement.id"),
        "tab-why"
    );
    assert_eq!(
        stage
            .browser
            .run("return document.querySelector('#view-why').hidden"),
        false
    );
    stage.browser.press("\u{e012}");
    assert_eq!(
        stage
            .browser
            .run("return document.querySelector('#view-verdicts').hidden"),
        false
    );
    // Every control can be reached with Tab, and shows that it has the focus.
    let mut reached = Vec::new();
    let focus = "
        const element = document.activeElement;
        if (element === document.body) return null;
        const around = [element, element.closest('label'), element.nextElementSibling].filter(Boolean);
        const seen = around.some((part) => getComputedStyle(part).outlineStyle !== 'none');
        return [element.id || element.className || element.value || element.localName, seen];";
    stage.browser.run("document.activeElement.blur()");
    for _ in 0..120 {
        stage.browser.press("\u{e004}");
        let found = stage.browser.run(focus);
        let Some(name) = found[0].as_str() else {
            break;
        };
        assert_eq!(found[1], true, "{name} does not show that it has the focus");
        reached.push(name.to_owned());
    }
    for control in [
        "photos",
        "folder",
        "camera",
        "paste",
        "card",
        "link act-why",
        "link act-copy",
        "link act-remove",
        "threshold",
        "negprompt",
        "classes",
        "auto",
        "bundle-folder",
        "bundle-address",
        "export-csv",
        "export-json",
        "clear",
    ] {
        assert!(
            reached.iter().any(|name| name == control),
            "{control} is not in {reached:?}"
        );
    }
    // From card to card, past those that are not shown.
    let focused = "return document.activeElement.closest('.card')?.dataset.file";
    stage.browser.run(
        "document.querySelectorAll('.card').forEach((card, place) => { card.dataset.verdict = place === 1 ? 'out' : 'in'; });
         document.querySelector('#tally [value=in]').click();
         document.querySelector('.card').focus()",
    );
    stage.browser.press("\u{e00f}");
    assert_eq!(stage.browser.run(focused), "astronaut.jpg");
    stage
        .browser
        .run("document.querySelector('#tally [value=all]').click()");
    // A card that goes hands its focus on.
    stage.browser.run("document.querySelector('.card').focus()");
    stage.browser.press("\u{e00f}");
    assert_eq!(stage.browser.run(focused), "coffee.jpg");
    stage
        .browser
        .run("document.activeElement.querySelector('.act-remove').focus()");
    stage.browser.press("\u{e007}");
    assert_eq!(stage.browser.run(focused), "astronaut.jpg");
    assert_eq!(stage.count(), 2);
    // With the last one, the page is as it was before the first.
    stage
        .browser
        .run("document.querySelectorAll('.act-remove').forEach((button) => button.click())");
    assert_eq!(
        stage.browser.run("return document.body.dataset.photos"),
        "none"
    );
}

#[test]
fn it_fits_a_phone_and_the_dark() {
    let stage = Stage::ready(&Options {
        window: Some((500, 844)),
        ..Options::default()
    });
    stage.browser.chromium(
        "Emulation.setDeviceMetricsOverride",
        json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true }),
    );
    stage.browser.screenshot("phone-empty");
    stage.show(&SAMPLES.map(sample), 300);
    stage.browser.screenshot("phone");
    let overflow = "return document.documentElement.scrollWidth - window.innerWidth";
    assert!(
        stage.browser.run(overflow).as_i64().unwrap() <= 0,
        "the page is wider than the phone"
    );
    let narrow = json!({ "width": 360, "height": 844, "deviceScaleFactor": 2, "mobile": true });
    stage
        .browser
        .chromium("Emulation.setDeviceMetricsOverride", narrow);
    assert!(stage.browser.run(overflow).as_i64().unwrap() <= 0);
    // The numbers below a gauge keep to one line.
    let lines = "return [...document.querySelectorAll('.numbers')].every((numbers) => numbers.scrollWidth <= numbers.clientWidth && numbers.offsetHeight < 30)";
    assert_eq!(stage.browser.run(lines), true);
    let beside = "return document.querySelector('h1').getBoundingClientRect().right <= document.querySelector('#tab-verdicts').getBoundingClientRect().left";
    assert_eq!(stage.browser.run(beside), true, "the name beside the tabs");
    stage.browser.screenshot("phone-narrow");
    stage.browser.click("#settings-toggle");
    let focused = "return document.activeElement.id";
    assert_eq!(stage.browser.run(focused), "settings-close");
    stage.browser.screenshot("phone-settings");
    assert!(stage.browser.run(overflow).as_i64().unwrap() <= 0);
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    stage.browser.chromium("Emulation.setEmulatedMedia", dark);
    stage.browser.click("#settings-toggle");
    stage.browser.screenshot("phone-dark");
    stage.browser.chromium(
        "Emulation.setDeviceMetricsOverride",
        json!({ "width": 1440, "height": 1000, "deviceScaleFactor": 1, "mobile": false }),
    );
    stage.browser.screenshot("dark");
    stage
        .browser
        .run("document.querySelector('.card .act-why').click()");
    stage.browser.screenshot("why-dark");
    let still = json!({ "features": [
        { "name": "prefers-color-scheme", "value": "dark" },
        { "name": "prefers-reduced-motion", "value": "reduce" },
    ] });
    stage.browser.chromium("Emulation.setEmulatedMedia", still);
    let moving = "return document.getAnimations().length + [...document.querySelectorAll('*')].filter((element) => getComputedStyle(element).animationName !== 'none').length";
    stage
        .browser
        .run("document.querySelector('#device-line').dataset.state = 'busy'");
    assert_eq!(stage.browser.run(moving), 0);
    let paper = stage
        .browser
        .run("return getComputedStyle(document.body).backgroundColor");
    stage.browser.click("#theme");
    assert_ne!(
        stage
            .browser
            .run("return getComputedStyle(document.body).backgroundColor"),
        paper
    );
}

#[test]
fn views_keep_their_place_and_show_what_was_chosen() {
    let stage = Stage::ready(&Options::default());
    let photos: Vec<PathBuf> = (0..24)
        .map(|salt| {
            let bytes = encoded(&noise(320, 240, salt), image::ImageFormat::Jpeg);
            stage.file(&format!("{salt}.jpg"), &bytes)
        })
        .collect();
    stage.show(&photos, 120);
    let idle = "return document.querySelector('#queue').hidden";
    stage.browser.wait("every verdict", 120, idle);
    // The newest card is the first: the oldest is far down, and last in the strip.
    let place = stage.browser.run(
        "const why = [...document.querySelectorAll('.act-why')].at(-1);
         why.scrollIntoView();
         window.place = scrollY;
         why.click();
         return window.place",
    );
    assert!(place.as_f64().unwrap() > 100.0, "{place}");
    assert_eq!(stage.browser.run("return scrollY"), 0);
    let in_sight = "
        const strip = document.querySelector('#why-photos').getBoundingClientRect();
        const chosen = document.querySelector('#why-photos [aria-pressed=true]').getBoundingClientRect();
        return chosen.left >= strip.left && chosen.right <= strip.right";
    assert_eq!(stage.browser.run(in_sight), true);
    stage.browser.click("#tab-verdicts");
    let back = "return Math.abs(scrollY - window.place) < 200";
    assert_eq!(stage.browser.run(back), true);
    // Every card in sight has its picture, however it came there.
    stage
        .browser
        .run("scrollTo(0, 0); requestAnimationFrame(() => scrollTo(0, 1e6))");
    stage.browser.wait(
        "its picture in every card in sight",
        30,
        "return [...document.querySelectorAll('.card')]
             .filter((card) => card.checkVisibility({ contentVisibilityAuto: true }))
             .every((card) => card.querySelector('.photo img').hasAttribute('src'))",
    );
    // A choice that nothing is of says so.
    stage.browser.run("document.querySelector('[name=show][value=in]').click(); const slider = document.querySelector('#threshold'); slider.value = 1000; slider.dispatchEvent(new Event('input'))");
    let said = "return getComputedStyle(document.querySelector('#cards'), '::before').content";
    assert_eq!(stage.browser.run(said), "\"No photo is in.\"");
}
