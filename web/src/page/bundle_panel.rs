//! Which bundle is loaded, and loading another.

use web::message::{BundleSource, Opened};
use web::wording;
use web_sys::{Element, Event, File, HtmlElement, HtmlInputElement};

use super::app::{self, App};
use super::{banner, dom, folder};

/// Listens.
pub fn start() {
    dom::on(
        &dom::by_id::<HtmlElement>("bundle-folder"),
        "change",
        |_: Event| {
            let input: HtmlInputElement = dom::by_id("bundle-folder");
            let files = input.files();
            let files = files
                .iter()
                .flat_map(|list| (0..list.length()).filter_map(|index| list.get(index)));
            choose_folder(files.collect());
            // The same folder again counts as a change.
            input.set_value("");
        },
    );
    dom::on(
        &dom::by_id::<HtmlElement>("bundle-form"),
        "submit",
        |event: Event| {
            event.prevent_default();
            let url = dom::by_id::<HtmlInputElement>("bundle-address").value();
            if !url.trim().is_empty() {
                let source = BundleSource::Address {
                    url: url.trim().to_owned(),
                };
                app::with(|app: &mut App| app.choose_bundle(Some((source, Vec::new()))));
            }
        },
    );
    dom::on(
        &dom::by_id::<HtmlElement>("bundle-default"),
        "click",
        |_: Event| {
            app::with(|app: &mut App| app.choose_bundle(None));
        },
    );
}

/// The folder that holds `bundle.json`, without what lies deeper.
fn choose_folder(files: Vec<File>) {
    let path = |file: &File| folder::path_of(file).unwrap_or_else(|| file.name());
    let folder = files
        .iter()
        .find(|file| file.name() == "bundle.json")
        .map(path);
    let Some(folder) = folder.map(|path| path.trim_end_matches("bundle.json").to_owned()) else {
        let text =
            "This folder has no bundle.json. Choose the folder `bundle` that a training run wrote.";
        banner::show("refused", "trouble", text);
        return;
    };
    let files: Vec<File> = files
        .into_iter()
        .filter(|file| path(file) == format!("{folder}{}", file.name()))
        .collect();
    let names = files.iter().map(File::name).collect();
    app::with(|app: &mut App| app.choose_bundle(Some((BundleSource::Files { names }, files))));
}

/// Shows the loaded bundle, and where it is from; `None` for the page's own.
pub fn show(opened: &Opened, source: Option<&BundleSource>) {
    dom::by_id::<Element>("bundle-name").set_text_content(Some(&opened.model));
    let origin = match (opened.cached, opened.kept) {
        (true, _) => ", from this browser's cache.",
        (false, true) => ".",
        (false, false) => {
            ". This browser keeps no copy, because its storage is full or closed to the page: the next visit fetches it again, and does not work offline."
        }
    };
    let from = match source {
        None | Some(BundleSource::Page) => String::new(),
        Some(BundleSource::Files { .. }) => " Opened from a folder of yours.".to_owned(),
        Some(BundleSource::Address { url }) => format!(" Opened from {url}."),
    };
    let text = format!(
        "{} {}{origin}{from}",
        opened.description,
        wording::bytes(opened.bytes)
    );
    dom::by_id::<Element>("bundle-note").set_text_content(Some(&text));
    dom::by_id::<HtmlElement>("bundle-default").set_hidden(source.is_none());
}
