//! Istio's and Kubernetes' resources, as `invoker check --istio` reads them: any YAML has a report.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use invoker::check::check_istio;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FILE: LazyLock<(TempDir, Vec<PathBuf>)> = LazyLock::new(|| {
    let folder = TempDir::new().expect("there is room for files");
    let files = vec![folder.path().join("resources.yaml")];
    (folder, files)
});

fuzz_target!(|text: &str| {
    let (_, files) = &*FILE;
    std::fs::write(&files[0], text).expect("a file can be written");
    if let Ok(report) = check_istio(files) {
        let _ = report.to_string();
    }
});
