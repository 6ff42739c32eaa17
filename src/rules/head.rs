//! A request's head, as far as rules ask for it.

use std::cell::OnceCell;

use super::annotation::Annotation;
use super::authority::Authority;

/// What a host knows of a request. Each method is called at most once per request (an annotation
/// at most once each), and only if needed: in Envoy a value costs some 10,000 instructions.
pub trait RequestHead {
    /// The cluster that the request goes to.
    fn cluster(&self) -> Option<String>;
    /// `:authority`, or `Host`, as it was sent.
    fn authority(&self) -> Option<String>;
    /// `:path` with its query, as it was sent.
    fn path(&self) -> Option<String>;
    /// What the route or the cluster carries; an empty value counts as absent.
    fn annotation(&self, annotation: Annotation) -> Option<Vec<u8>>;
    /// Whether it goes over the network in the clear. In Envoy the cluster decides that, out of the
    /// host's sight.
    fn is_in_the_clear(&self) -> bool {
        false
    }
}

/// A head that remembers what it was asked for.
pub(super) struct Asked<'a, H> {
    head: &'a H,
    cluster: OnceCell<Option<String>>,
    authority: OnceCell<Option<Authority>>,
    path: OnceCell<Option<String>>,
}

impl<'a, H: RequestHead> Asked<'a, H> {
    pub(super) fn new(head: &'a H) -> Self {
        let (cluster, authority, path) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self {
            head,
            cluster,
            authority,
            path,
        }
    }

    pub(super) fn cluster(&self) -> Option<&str> {
        self.cluster.get_or_init(|| self.head.cluster()).as_deref()
    }

    pub(super) fn authority(&self) -> Option<&Authority> {
        let parse = || self.head.authority().and_then(Authority::parse);
        self.authority.get_or_init(parse).as_ref()
    }

    pub(super) fn path(&self) -> Option<&str> {
        self.path.get_or_init(|| self.head.path()).as_deref()
    }
}
