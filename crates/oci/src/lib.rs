//! Images and artifacts of OCI registries as a source of what is shipped.
//!
//! * **Is for**: finding out what a tag points to, once; fetching it with every byte compared
//!   with the digest that names it; the files it holds, in a folder; what is attached to it.
//! * **Must never**: run in the controller. Who ships has the registry's credentials; Airboss
//!   keeps what was fetched, and asks the registry nothing.
//! * **Start reading** at [`Registry`].

mod attached;
mod credentials;
mod error;
mod pull;
mod registry;
mod source;

pub use attached::{Attached, MAX_ATTACHED, MAX_ATTACHED_BYTES};
pub use credentials::Credentials;
pub use error::OciError;
pub use pull::Pulled;
pub use registry::{MAX_MANIFEST, Pinned, Registry};
pub use source::{Platform, Source};
