//! Photos that are read again: for a method that takes their patches, which nobody keeps (fifty times
//! the room of a photo's feature and more), and for classes that a new worker has no features for.

use std::collections::BTreeSet;

use shared::score::method;
use web::message::{PhotoId, Scores};

use super::app::App;
use super::method_panel;
use super::photo::{Outcome, Photo};

impl App {
    /// Whether the chosen method takes the patches of photos.
    pub(super) fn takes_patches(&self) -> bool {
        method(&self.method).is_some_and(|method| method.takes_patches())
            && method_panel::is_usable(&self.method, self.edited)
    }

    /// Has every photo read again that was read, but not for what now counts; and no other.
    pub(super) fn read_what_lacks(&mut self) {
        self.let_be();
        let lacking: Vec<PhotoId> = self
            .photos
            .iter()
            .filter(|(_, photo)| !photo.again && self.lacks(photo))
            .map(|(id, _)| *id)
            .collect();
        for id in lacking {
            self.read_again(id);
        }
    }

    /// A photo came back: it goes once more if the method was changed meanwhile to one that takes more.
    pub(super) fn came_back(&mut self, id: PhotoId) {
        let Some(photo) = self.photos.get_mut(&id) else {
            return;
        };
        photo.again = false;
        let failed = photo.again_failed.is_some();
        if !failed
            && self
                .photos
                .get(&id)
                .is_some_and(|photo| self.lacks_patches(photo))
        {
            self.read_again(id);
        }
    }

    /// The scores of photos other than these are of classes that count no more.
    pub(super) fn outdate_all_but(&mut self, known: &BTreeSet<PhotoId>) {
        for (id, photo) in &mut self.photos {
            if let Outcome::Read(reading, ..) = &mut photo.outcome
                && !known.contains(id)
            {
                reading.scores = Scores::default();
                photo.stale = true;
            }
        }
    }

    fn lacks(&self, photo: &Photo) -> bool {
        photo.reading().is_some() && (photo.stale || self.lacks_patches(photo))
    }

    fn lacks_patches(&self, photo: &Photo) -> bool {
        photo.reading().is_some_and(|reading| {
            let scored = reading.scores.method(&self.method).is_some();
            self.takes_patches() && !reading.patches && !scored
        })
    }

    fn read_again(&mut self, id: PhotoId) {
        self.begin_queue();
        if let Some(photo) = self.photos.get_mut(&id) {
            photo.again = true;
            photo.again_failed = None;
        }
        self.queue.add([id]);
    }

    /// Takes back the photos that wait to be read again and lack nothing any more.
    fn let_be(&mut self) {
        let needless: BTreeSet<PhotoId> = self
            .photos
            .iter()
            .filter(|(_, photo)| photo.again && !self.lacks(photo))
            .map(|(id, _)| *id)
            .collect();
        for id in self.queue.withdraw(|id| needless.contains(&id)) {
            if let Some(photo) = self.photos.get_mut(&id) {
                photo.again = false;
            }
        }
    }
}
