//! What came of the cases, kept in `target` from the run of a scene to the writing of the page.

use super::data::{Scene, catalogue};
use super::table;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What came of a case.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Result {
    pub exit: Option<i32>,
    /// The line with the first of the words that are expected.
    pub said: String,
    pub seconds: f64,
}

fn place(scene: Scene) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{scene:?}.json").to_lowercase())
}

/// Puts aside what came of a scene's cases; of those that were not `all`, in the place of what came of them before.
pub fn keep(scene: Scene, results: BTreeMap<String, Result>, all: bool) {
    let before = fs::read(place(scene)).ok().filter(|_| !all).and_then(|text| serde_json::from_slice(&text).ok());
    let mut kept: BTreeMap<String, Result> = before.unwrap_or_default();
    kept.extend(results);
    fs::write(place(scene), serde_json::to_vec_pretty(&kept).unwrap()).unwrap();
}

/// Writes the page of what came of all of them.
pub fn publish(page: &Path) {
    let mut all = BTreeMap::new();
    for scene in [Scene::Fresh, Scene::Cluster] {
        let text = fs::read_to_string(place(scene)).unwrap();
        let results: BTreeMap<String, Result> = serde_json::from_str(&text).unwrap();
        all.extend(results);
    }
    let kinds = catalogue();
    for case in kinds.iter().flat_map(|kind| &kind.rows).flat_map(|row| &row.cases) {
        let exit = all.get(&case.id).and_then(|result| result.exit);
        assert_eq!(exit, Some(case.exit), "{} was not run, or ended otherwise", case.id);
    }
    let said = all.into_iter().map(|(id, result)| (id, result.said)).collect();
    let [old, newest] = ["bookworm", "sid"].map(crate::fixture::version_of);
    let versions = format!("3.5.16; where an earlier or a later version is asked for, {old} and {newest}");
    fs::write(page, table::page(&kinds, &said, &versions)).unwrap();
}
