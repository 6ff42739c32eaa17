//! HTTP connection managers and their routes.

use crate::check::node::Node;

#[derive(Debug)]
pub(super) struct Manager<'a> {
    pub(super) node: Node<'a>,
    /// `None` if they come from a control plane.
    pub(super) routes: Option<Vec<Route<'a>>>,
}

/// One route with what stands around it.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) node: Node<'a>,
    pub(super) virtual_host: Node<'a>,
    pub(super) configuration: Node<'a>,
    pub(super) targets: Targets<'a>,
}

/// Where a route leads.
#[derive(Debug)]
pub(super) struct Targets<'a> {
    pub(super) clusters: Vec<&'a str>,
    /// A header or an extension that chooses (too).
    pub(super) chooser: Option<Node<'a>>,
}

pub(super) fn read_all<'a>(root: &Node<'a>) -> Vec<Manager<'a>> {
    let Some(resources) = root.get("static_resources") else {
        return Vec::new();
    };
    let listeners = resources.list("listeners");
    let chains = listeners.iter().flat_map(|listener| {
        let mut chains = listener.list("filter_chains");
        chains.extend(listener.get("default_filter_chain"));
        chains
    });
    let filters = chains.flat_map(|chain| chain.list("filters"));
    filters
        .filter_map(|filter| match filter.typed("typed_config")? {
            ("HttpConnectionManager", node) => Some(Manager {
                routes: routes(&node),
                node,
            }),
            _ => None,
        })
        .collect()
}

fn routes<'a>(manager: &Node<'a>) -> Option<Vec<Route<'a>>> {
    let configuration = manager.get("route_config")?;
    let mut routes = Vec::new();
    for virtual_host in configuration.list("virtual_hosts") {
        for node in virtual_host.list("routes") {
            routes.push(Route {
                targets: targets(&node),
                node,
                virtual_host: virtual_host.clone(),
                configuration: configuration.clone(),
            });
        }
    }
    Some(routes)
}

fn targets<'a>(route: &Node<'a>) -> Targets<'a> {
    let Some(action) = route.get("route") else {
        // A redirect or a direct response goes nowhere.
        return Targets {
            clusters: Vec::new(),
            chooser: None,
        };
    };
    let mut clusters: Vec<&str> = action.text("cluster").into_iter().collect();
    let weighted = action.get("weighted_clusters");
    let weighted = weighted
        .map(|weighted| weighted.list("clusters"))
        .unwrap_or_default();
    clusters.extend(weighted.iter().filter_map(|cluster| cluster.text("name")));
    let chooser = [
        "cluster_header",
        "cluster_specifier_plugin",
        "inline_cluster_specifier_plugin",
    ]
    .iter()
    .find_map(|field| action.get(field));
    Targets { clusters, chooser }
}

impl<'a> Route<'a> {
    /// The `route` action, where timeouts and policies are.
    pub(super) fn action(&self) -> Option<Node<'a>> {
        self.node.get("route")
    }

    /// The route, its virtual host, its configuration and its weighted clusters: each may add and
    /// remove headers, and retry and mirror.
    pub(super) fn levels(&self) -> Vec<Node<'a>> {
        let mut levels = vec![
            self.node.clone(),
            self.virtual_host.clone(),
            self.configuration.clone(),
        ];
        if let Some(weighted) = self
            .action()
            .and_then(|action| action.get("weighted_clusters"))
        {
            levels.extend(weighted.list("clusters"));
        }
        levels
    }

    pub(super) fn domains(&self) -> Vec<&'a str> {
        let domains = self.virtual_host.list("domains");
        domains
            .iter()
            .filter_map(|domain| domain.value().as_str())
            .collect()
    }

    /// Whether the route carries an audience of its own.
    pub(super) fn is_annotated(&self) -> bool {
        self.node
            .at(&["metadata", "filter_metadata", "invoker", "audience"])
            .is_some()
    }

    /// What makes Envoy follow redirects itself.
    pub(super) fn redirect_policy(&self) -> Option<Node<'a>> {
        let action = self.action()?;
        ["internal_redirect_policy", "internal_redirect_action"]
            .iter()
            .filter_map(|field| action.get(field))
            .find(|policy| policy.value().as_str() != Some("PASS_THROUGH_INTERNAL_REDIRECT"))
    }

    /// The route's own, or its virtual host's.
    pub(super) fn retry_policy(&self) -> Option<Node<'a>> {
        let places = self.action().into_iter().chain([self.virtual_host.clone()]);
        places
            .into_iter()
            .find_map(|place| place.get("retry_policy"))
    }

    /// The copies that are made of this route's requests.
    pub(super) fn mirrors(&self) -> Vec<Node<'a>> {
        let places = self.levels().into_iter().chain(self.action());
        places.flat_map(|place| mirrors_at(&place)).collect()
    }

    /// The lists of headers that are removed on this route's requests by the router.
    pub(super) fn removed_headers(&self) -> Vec<Node<'a>> {
        self.levels()
            .iter()
            .flat_map(|level| level.list("request_headers_to_remove"))
            .collect()
    }

    /// The headers that the router adds to this route's requests.
    pub(super) fn added_headers(&self) -> Vec<Node<'a>> {
        self.levels()
            .iter()
            .flat_map(|level| level.list("request_headers_to_add"))
            .collect()
    }
}

pub(super) fn mirrors_at<'a>(place: &Node<'a>) -> Vec<Node<'a>> {
    let mut mirrors = place.list("request_mirror_policies");
    mirrors.extend(place.get("request_mirror_policy"));
    mirrors
}

impl Manager<'_> {
    /// Idle timeouts end a request that waits in a VM that has crashed, so they must be there, and
    /// they must not end one that waits for its token. `None` is the manager as a whole.
    pub(super) fn idle_timeouts(&self, routes: &[&Route<'_>]) -> Vec<(String, f64)> {
        /// Envoy's own, where nothing is written.
        const DEFAULT_SECONDS: f64 = 300.0;

        let field = "stream_idle_timeout";
        let whole = self.node.seconds(field).unwrap_or(DEFAULT_SECONDS);
        let mut timeouts = vec![(self.node.path_of(field), whole)];
        for action in routes.iter().filter_map(|route| route.action()) {
            if let Some(seconds) = action.seconds("idle_timeout") {
                timeouts.push((action.path_of("idle_timeout"), seconds));
            }
        }
        timeouts
    }
}
