//! Envoy's bootstrap and a configuration beside it, as `invoker check --bootstrap` reads them: any YAML has a report.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use invoker::check::check;
use invoker::config::Host;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

struct Files {
    _folder: TempDir,
    configuration: PathBuf,
    bootstrap: PathBuf,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let folder = TempDir::new().expect("there is room for files");
    let (configuration, bootstrap) = (
        folder.path().join("invoker.yaml"),
        folder.path().join("envoy.yaml"),
    );
    let text = r#"{"credentials": {"type": "metadata", "cluster": "metadata"}, "audiences": [{"cluster": "*", "audience": "https://profiles-abc123-uc.a.run.app"}]}"#;
    std::fs::write(&configuration, text).expect("a file can be written");
    Files {
        _folder: folder,
        configuration,
        bootstrap,
    }
});

fuzz_target!(|text: &str| {
    std::fs::write(&FILES.bootstrap, text).expect("a file can be written");
    if let Ok(report) = check(&FILES.configuration, Host::Envoy, Some(&FILES.bootstrap)) {
        let _ = report.to_string();
    }
});
