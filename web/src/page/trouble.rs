//! What the page does when its device, its worker or a bundle fails.

use web::message::{DeviceChoice, PhotoId};

use super::app::{self, App};
use super::banner::{self, Banner};
use super::link::Link;
use super::{class_panel, device_panel, dom};

/// A worker that dies this often in a row, or a GPU lost this often, is not tried again.
const PATIENCE: u32 = 3;

impl App {
    /// The bundle could not be opened.
    pub(super) fn not_opened(&mut self, message: &str) {
        if self.source.is_some() || self.settled.is_some() {
            // Another bundle was asked for: the one that worked comes back, or else the page's own.
            if self.source == self.settled {
                self.settled = None;
            }
            self.source.clone_from(&self.settled);
            let text = match (&self.source, &self.opened) {
                (Some(_), _) => "The bundle before it is back in place.",
                (None, Some(_)) => "The page's own bundle is back in place.",
                (None, None) => "The page's own bundle is opened instead.",
            };
            // It stays when that one is open, which ends what is said of "bundle".
            banner::show("refused", "trouble", &format!("{message} {text}"));
            self.restart();
            return;
        }
        device_panel::show_failure("No bundle");
        trouble("bundle", message, "").show_with("Try again", || app::with(App::restart));
    }

    /// The GPU is gone; `cause` is what a driver or a program says of it.
    pub(super) fn device_lost(&mut self, cause: &str) {
        self.failures += 1;
        self.queue.take_back();
        let text = if self.failures > PATIENCE {
            self.device = DeviceChoice::Cpu;
            device_panel::choose(self.device);
            "The graphics device stopped working again and again, so the CPU takes over. Choose GPU under Device to give it another try."
        } else {
            "The graphics device stopped working. It is being set up again, and the photos that were with it are read again."
        };
        trouble("device", text, cause).show();
        self.restart();
    }

    /// The worker is gone; `cause` is what a program says of it.
    pub(super) fn worker_died(&mut self, cause: &str) {
        let opening = !self.has_bundle;
        // One whose program did not come has not met the device.
        let came = self.link.as_ref().is_some_and(Link::is_ready);
        let given_up = self.queue.worker_died().given_up;
        if given_up.is_empty() {
            self.failures += 1;
        } else {
            // It was the photo.
            self.failures = 0;
        }
        for id in given_up {
            self.give_up(id, cause);
        }
        // One that has not opened a bundle yet has not seen the names.
        if !opening && self.choosing.take().is_some() {
            self.unapplied = true;
            class_panel::show_refusal(
                "The model stopped over these names and starts again. When it is ready, apply them once more; a shorter list takes less memory.",
            );
        }
        self.draw_soon();
        if self.failures > PATIENCE {
            self.link = None;
            self.queue.take_back();
            // That the CPU would take over is no longer true.
            banner::dismiss("device");
            device_panel::show_failure("Not running");
            let text = match (came, opening) {
                (false, _) => {
                    "The model's program could not be loaded. Look whether the network works, then try again."
                }
                (true, true) => {
                    "The model could not be started. Close other tabs to free memory, then try again."
                }
                (true, false) => {
                    "The model stops again and again. Close other tabs to free memory, then try again; or reload the page."
                }
            };
            trouble("bundle", text, cause).show_with("Try again", || {
                app::with(|app| {
                    app.failures = 0;
                    app.restart();
                });
            });
            return;
        }
        if came && opening && self.device != DeviceChoice::Cpu {
            self.device = DeviceChoice::Cpu;
            device_panel::choose(self.device);
            let text = "The model stopped while it was starting. It is started again on the CPU; choose GPU under Device to give that another try.";
            trouble("device", text, cause).show();
        }
        self.restart();
    }

    /// The server has a newer version of the page, and the worker is of that one.
    pub(super) fn outdated(&mut self) {
        self.link = None;
        self.queue.take_back();
        device_panel::show_failure("Not running");
        let text = "The page was updated on its server since this tab was opened, and its parts no longer fit together. Reload the page; photos have to be chosen again.";
        // Where the browser does not reload, the words stand there to say what to do.
        let reload = || drop(dom::window().location().reload());
        trouble("bundle", text, "").show_with("Reload", reload);
    }

    fn give_up(&mut self, id: PhotoId, cause: &str) {
        if let Some(photo) = self.photos.get_mut(&id) {
            let message = "Reading it took more memory than the browser gives, or broke the program. Scale the photo down and try again.";
            photo.fail(message.to_owned());
            photo.again = false;
            photo.detail = cause.to_owned();
        }
        self.undrawn.push(id);
    }
}

fn trouble<'a>(topic: &'a str, text: &'a str, detail: &'a str) -> Banner<'a> {
    Banner {
        topic,
        kind: "trouble",
        text,
        detail,
    }
}
