//! What repository tasks and the end-to-end tests share.
//!
//! * **Is for**: load on a service over real sockets ([`load`]), versions of the example service
//!   to ship ([`versions`]), ports ([`ports`]), a database ([`postgres`]), a registry ([`registry`]).
//! * **Must never**: be used by a crate of the product outside its tests.

pub mod load;
pub mod ports;
pub mod postgres;
pub mod registry;
pub mod versions;
