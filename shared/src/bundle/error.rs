use thiserror::Error;

use super::{FORMAT, FORMAT_VERSION};

/// Why a bundle cannot be written or read. Each message names the file or field, the cause and the
/// way out.
#[derive(Debug, Error)]
pub enum BundleError {
    /// `bundle.json` is not a manifest at all.
    #[error(
        "bundle.json is not a {FORMAT} manifest: {cause}; point to a folder or address that \
         `export` wrote"
    )]
    NotABundle {
        /// What is wrong with it.
        cause: String,
    },
    /// A bundle of another format version.
    #[error(
        "bundle.json has format version {found}, and this program reads version {FORMAT_VERSION}; \
         export the bundle again with this program's version, or use the program that wrote it{by}"
    )]
    Version {
        /// The version in the file.
        found: u64,
        /// Who wrote it, in brackets, when the file says so.
        by: String,
    },
    /// A field that the program cannot work with.
    #[error("bundle.json: {field}: {cause}; export the bundle again")]
    Field {
        /// The path of the field, such as `methods[0].threshold`.
        field: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A file's name could reach outside the bundle or hides what the file is.
    #[error("bundle.json: the file name {name:?} is not allowed: {cause}; export the bundle again")]
    FileName {
        /// The name as it stands in the manifest.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A file's bytes are fewer or more than the manifest says.
    #[error(
        "{name} has {found} bytes where the manifest says {expected}; the copy is incomplete or \
         altered, fetch or export it again"
    )]
    Size {
        /// The file.
        name: String,
        /// Bytes that the manifest says.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A file's bytes are not those that were written.
    #[error(
        "{name} has SHA-256 {found} where the manifest says {expected}; the copy is damaged or \
         altered, fetch or export it again"
    )]
    Hash {
        /// The file.
        name: String,
        /// The hash that the manifest says.
        expected: String,
        /// The hash of the bytes.
        found: String,
    },
    /// A file that the manifest lists is not there.
    #[error("{name} is missing from the bundle; copy or export the whole folder again")]
    Missing {
        /// The file.
        name: String,
    },
    /// A file came that the manifest does not list, or came twice.
    #[error("{name} is not a file that this bundle still waits for")]
    Unexpected {
        /// The file.
        name: String,
    },
    /// The caller could not bring a file.
    #[error("{name} could not be read: {cause}")]
    Fetch {
        /// The file.
        name: String,
        /// What the caller said.
        cause: String,
    },
    /// A file's content is not of its kind.
    #[error("{name}: {cause}; export the bundle again")]
    Content {
        /// The file.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A tensor that cannot be stored or used.
    #[error("tensor {tensor}: {cause}")]
    Tensor {
        /// The tensor, with the file in brackets when it came from one.
        tensor: String,
        /// What is wrong with it, and the way out.
        cause: String,
    },
}

impl BundleError {
    pub(super) fn field(field: impl ToString, cause: impl ToString) -> Self {
        Self::Field {
            field: field.to_string(),
            cause: cause.to_string(),
        }
    }

    pub(super) fn tensor(tensor: impl ToString, cause: impl ToString) -> Self {
        Self::Tensor {
            tensor: tensor.to_string(),
            cause: cause.to_string(),
        }
    }

    pub(super) fn content(name: impl ToString, cause: impl ToString) -> Self {
        Self::Content {
            name: name.to_string(),
            cause: cause.to_string(),
        }
    }
}
