//! Plugins of ours that meet in one proxy.

use super::document::{ROOT_NAMESPACE, same_namespace};
use super::plugin::Plugin;
use crate::check::Report;

pub(super) fn check(plugins: &[Plugin<'_>], report: &mut Report) {
    // Upstream filters are apart, each in its clusters.
    let plugins: Vec<_> = plugins
        .iter()
        .filter(|it| it.upstream().is_none())
        .collect();
    for (index, plugin) in plugins.iter().enumerate() {
        let mut earlier = plugins.iter().take(index);
        let earlier = earlier.find(|earlier| meet(earlier, plugin));
        if let Some(earlier) = earlier {
            plugin.document.findings(report).warning(
                plugin.document.spec.path(),
                format!(
                    "runs in the same proxies as {}: each asks for tokens of its own, and what one writes the other \
                     may overwrite; put their rules into one plugin",
                    earlier.document.full_name()
                ),
            );
        }
    }
}

fn meet(one: &Plugin<'_>, other: &Plugin<'_>) -> bool {
    let (here, there) = (one.document.namespace, other.document.namespace);
    let is_everywhere = [here, there].contains(&Some(ROOT_NAMESPACE));
    if !is_everywhere && !same_namespace(here, there) {
        return false;
    }
    if !one.targets.is_empty() || !other.targets.is_empty() {
        return one
            .targets
            .iter()
            .any(|target| other.targets.contains(target));
    }
    let contradicts = |(name, value): &(&str, &str)| {
        other
            .selector
            .iter()
            .any(|(key, wanted)| key == name && wanted != value)
    };
    !one.selector.iter().any(contradicts)
}
