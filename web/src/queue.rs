//! The photos that wait for the worker.

use std::collections::{HashSet, VecDeque};

use crate::message::PhotoId;

/// Batches that may be with the worker at a time: one that it works on, one so that it never
/// waits for the page.
const BATCHES_UNDER_WAY: usize = 2;

/// Which photos wait, which are with the worker, and how far the whole has come.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<PhotoId>,
    under_way: Vec<Vec<PhotoId>>,
    /// Photos that were with a worker that died: they go alone next time.
    suspects: HashSet<PhotoId>,
    done: usize,
    total: usize,
}

/// What becomes of photos that were with a worker that died.
#[derive(Debug, Default, PartialEq)]
pub struct Aftermath {
    /// Given up: the worker died twice with them.
    pub given_up: Vec<PhotoId>,
}

impl Queue {
    /// Puts photos at the end.
    pub fn add(&mut self, photos: impl IntoIterator<Item = PhotoId>) {
        if self.is_idle() {
            (self.done, self.total) = (0, 0);
        }
        let before = self.waiting.len();
        self.waiting.extend(photos);
        self.total += self.waiting.len() - before;
    }

    /// The photos to send next, at most `batch` of them; none while the worker has enough.
    pub fn next(&mut self, batch: usize) -> Option<Vec<PhotoId>> {
        let alone = self
            .under_way
            .iter()
            .flatten()
            .any(|photo| self.suspects.contains(photo));
        if alone || self.under_way.len() >= BATCHES_UNDER_WAY {
            return None;
        }
        let first = *self.waiting.front()?;
        if self.suspects.contains(&first) {
            if !self.under_way.is_empty() {
                return None;
            }
            self.waiting.pop_front();
            self.under_way.push(vec![first]);
            return Some(vec![first]);
        }
        let suspects = &self.suspects;
        let count = self
            .waiting
            .iter()
            .take(batch.max(1))
            .take_while(|photo| !suspects.contains(photo))
            .count();
        let photos: Vec<PhotoId> = self.waiting.drain(..count).collect();
        self.under_way.push(photos.clone());
        Some(photos)
    }

    /// A photo came back, read or not. False when nobody waited for it.
    pub fn finish(&mut self, photo: PhotoId) -> bool {
        let Some(batch) = self
            .under_way
            .iter_mut()
            .find(|batch| batch.contains(&photo))
        else {
            return false;
        };
        batch.retain(|other| *other != photo);
        self.under_way.retain(|batch| !batch.is_empty());
        self.suspects.remove(&photo);
        self.done += 1;
        true
    }

    /// Drops what waits; what is with the worker comes back still. Returns the dropped ones.
    pub fn cancel(&mut self) -> Vec<PhotoId> {
        self.withdraw(|_| true)
    }

    /// Drops those of the waiting photos that are unwanted. Returns them.
    pub fn withdraw(&mut self, unwanted: impl Fn(PhotoId) -> bool) -> Vec<PhotoId> {
        let (dropped, kept): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|photo| unwanted(*photo));
        self.waiting = kept.into();
        self.total -= dropped.len();
        dropped
    }

    /// Drops everything, also what is with the worker, which has to be told. Returns the dropped
    /// ones.
    pub fn abandon(&mut self) -> Vec<PhotoId> {
        let dropped = self.under_way.drain(..).flatten();
        let dropped: Vec<PhotoId> = dropped.chain(self.waiting.drain(..)).collect();
        self.total -= dropped.len();
        dropped
    }

    /// Drops everything, as if nothing had ever come.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes one photo out, wherever it is.
    pub fn remove(&mut self, photo: PhotoId) {
        self.withdraw(|other| other == photo);
        for batch in &mut self.under_way {
            let before = batch.len();
            batch.retain(|other| *other != photo);
            self.total -= before - batch.len();
        }
        self.under_way.retain(|batch| !batch.is_empty());
        self.suspects.remove(&photo);
    }

    /// The worker was replaced on purpose: what was with it waits again, in front.
    pub fn take_back(&mut self) {
        for photo in self.under_way.drain(..).flatten().rev().collect::<Vec<_>>() {
            self.waiting.push_front(photo);
        }
    }

    /// The worker died. What was with it waits again and will go one by one; what died alone
    /// is given up.
    pub fn worker_died(&mut self) -> Aftermath {
        let lost: Vec<PhotoId> = self.under_way.drain(..).flatten().collect();
        let mut aftermath = Aftermath::default();
        for photo in lost.into_iter().rev() {
            if self.suspects.insert(photo) {
                self.waiting.push_front(photo);
            } else {
                self.suspects.remove(&photo);
                self.done += 1;
                aftermath.given_up.push(photo);
            }
        }
        aftermath
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Photos done and photos in all since the queue was last empty.
    pub fn progress(&self) -> (usize, usize) {
        (self.done, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_batches_are_under_way() {
        let mut queue = Queue::default();
        queue.add(0..7);
        assert_eq!(queue.next(3), Some(vec![0, 1, 2]));
        assert_eq!(queue.next(3), Some(vec![3, 4, 5]));
        assert_eq!(queue.next(3), None);
        for photo in 0..3 {
            assert!(queue.finish(photo));
        }
        assert!(!queue.finish(0));
        assert_eq!(queue.next(3), Some(vec![6]));
        assert_eq!(queue.progress(), (3, 7));
        for photo in 3..7 {
            queue.finish(photo);
        }
        assert!(queue.is_idle());
        queue.add([9]);
        assert_eq!(queue.progress(), (0, 1));
    }

    #[test]
    fn cancelling_leaves_what_is_under_way() {
        let mut queue = Queue::default();
        queue.add(0..5);
        queue.next(1);
        assert_eq!(queue.cancel(), [1, 2, 3, 4]);
        assert_eq!(queue.progress(), (0, 1));
        assert!(queue.finish(0));
        assert!(queue.is_idle());
    }

    #[test]
    fn unwanted_photos_are_withdrawn_and_the_others_keep_their_order() {
        let mut queue = Queue::default();
        queue.add(0..6);
        queue.next(1);
        assert_eq!(queue.withdraw(|photo| photo % 2 == 0), [2, 4]);
        assert_eq!(queue.progress(), (0, 4), "photo 0 is with the worker");
        assert_eq!(queue.next(9), Some(vec![1, 3, 5]));
    }

    #[test]
    fn what_is_under_way_can_be_abandoned() {
        let mut queue = Queue::default();
        queue.add(0..4);
        queue.next(1);
        queue.finish(0);
        queue.next(1);
        assert_eq!(queue.cancel(), [2, 3]);
        assert_eq!(queue.abandon(), [1]);
        assert!(queue.is_idle());
        assert_eq!(queue.progress(), (1, 1));
        assert!(!queue.finish(1), "nobody waits for it any more");
    }

    #[test]
    fn the_photo_that_kills_the_worker_is_found() {
        let mut queue = Queue::default();
        queue.add(0..3);
        assert_eq!(queue.next(2), Some(vec![0, 1]));
        assert_eq!(queue.next(2), Some(vec![2]));
        assert_eq!(queue.worker_died(), Aftermath::default());
        // One by one from here on; photo 1 is the bad one.
        assert_eq!(queue.next(2), Some(vec![0]));
        assert_eq!(queue.next(2), None);
        queue.finish(0);
        assert_eq!(queue.next(2), Some(vec![1]));
        assert_eq!(queue.worker_died().given_up, [1]);
        assert_eq!(queue.next(2), Some(vec![2]));
        queue.finish(2);
        assert!(queue.is_idle());
        assert_eq!(queue.progress(), (3, 3));
    }

    #[test]
    fn a_removed_photo_never_goes_to_a_worker_again() {
        let mut queue = Queue::default();
        queue.add(0..4);
        queue.next(2);
        queue.remove(0);
        assert_eq!(queue.progress(), (0, 3));
        queue.take_back();
        assert_eq!(queue.next(2), Some(vec![1, 2]));
        // Nor does one that was with a worker that died, which would have to go alone.
        queue.worker_died();
        queue.remove(1);
        assert_eq!(queue.next(2), Some(vec![2]));
        queue.remove(2);
        assert!(!queue.finish(2), "nobody waits for it any more");
        assert_eq!(queue.next(2), Some(vec![3]));
        assert!(queue.finish(3) && queue.is_idle());
    }

    #[test]
    fn a_replaced_worker_starts_where_the_old_one_was() {
        let mut queue = Queue::default();
        queue.add(0..4);
        queue.next(2);
        queue.take_back();
        assert_eq!(queue.next(2), Some(vec![0, 1]));
        queue.remove(3);
        assert_eq!(queue.progress(), (0, 3));
    }
}
