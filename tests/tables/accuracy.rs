//! What classifiers have right, in `docs/results.md`.

use crate::report::{Markdown, commit, common, list, load, number, text};
use serde_json::Value;

/// What a row is called, and its report in `docs/results/study/`.
const STUDY: [(&str, &str); 6] = [
    ("supervised, cross-entropy", "ce"),
    ("supervised, AT", "at"),
    ("SimCLR, LE", "simclr"),
    ("RoCL, LE", "rocl"),
    ("RoCL, r-LE", "rocl-rle"),
    ("RoCL + AT", "rocl-at"),
];

/// Encoders whose heads are measured on other data, in `docs/results/transfer/`.
const TRANSFER: [(&str, &str); 3] = [("supervised, AT", "at"), ("SimCLR", "simclr"), ("RoCL", "rocl")];

const TEXTURES: [(&str, &str); 2] = [("SimCLR, LE", "simclr"), ("RoCL, LE", "rocl")];

/// `41.02 (40.06 to 41.99)`.
fn accuracy(measured: &Value) -> String {
    let [right, low, high] = ["accuracy", "low", "high"].map(|key| number(measured, key));
    format!("{right:.1} ({low:.1} to {high:.1})")
}

/// `PGD-20, L∞ 8/255`.
fn title(attack: &Value) -> String {
    let norm = match text(attack, "norm") {
        "linf" => "L∞",
        "l2" => "L2",
        "l1" => "L1",
        other => panic!("{other}"),
    };
    format!("PGD-{}, {norm} {}", number(attack, "steps"), text(attack, "epsilon"))
}

/// Clean, under each attack, and under the worst of several; what is measured has to be the same in all.
fn table(what: &str, rows: &[(String, &Value)]) -> Markdown {
    let attacks = |row: &Value| list(row, "attacks").iter().map(|attack| text(attack, "attack").to_owned()).collect::<Vec<_>>();
    rows.iter().for_each(|(name, row)| assert_eq!(attacks(row), attacks(rows[0].1), "{name}: the same attacks"));
    let named = list(rows[0].1, "attacks");
    let worst = (named.len() > 1).then(|| "worst for each image".to_owned());
    let header = [what.to_owned(), "clean".to_owned()].into_iter().chain(named.iter().map(title)).chain(worst);
    let mut table = Markdown::new(header);
    for (name, row) in rows {
        let attacked = list(row, "attacks");
        let worst = (attacked.len() > 1).then(|| accuracy(&row["worst_case"]));
        let cells = [name.clone(), accuracy(&row["clean"])].into_iter().chain(attacked.iter().map(accuracy)).chain(worst);
        table.row(cells);
    }
    table
}

/// Whose images, how many, and by what they were measured.
fn measured(reports: &[Value], data: &str, n: &str, sha256: &str) -> String {
    format!(
        "Percent right of n = {n} test images of {data}, with Wilson's 95 % intervals over images. Precision {}, seed {}, commit `{}`, {} ({}). SHA-256 of the test images and their labels: `{sha256}`.",
        common(reports, "precision"),
        common(reports, "seed"),
        commit(reports),
        common(reports, "machine.cpu"),
        common(reports, "machine.device"),
    )
}

/// Of `rocl evaluate`, in that folder of `docs/results/`.
fn evaluations(folder: &str, files: &[(&str, &str)]) -> String {
    let reports: Vec<Value> = files.iter().map(|(_, file)| load(&format!("docs/results/{folder}/{file}.json"))).collect();
    let rows: Vec<_> = files.iter().zip(&reports).map(|((name, _), report)| ((*name).to_owned(), report)).collect();
    let trained = common(&reports, "trained.data");
    let (data, n, sha256) = (common(&reports, "data"), common(&reports, "n"), common(&reports, "sha256"));
    let measured = measured(&reports, &data, &n, &sha256);
    table("model", &rows).below(&format!("{measured} Trained on {trained}, seed {}.", common(&reports, "trained.seed")))
}

pub fn study() -> String {
    evaluations("study", &STUDY)
}

pub fn textures() -> String {
    evaluations("textures", &TEXTURES)
}

pub fn transfer() -> String {
    let reports: Vec<Value> = TRANSFER.iter().map(|(_, file)| load(&format!("docs/results/transfer/{file}.json"))).collect();
    let heads = TRANSFER.iter().zip(&reports).flat_map(|((name, _), report)| {
        list(report, "heads").iter().map(move |head| (format!("{name}; {} head", text(head, "head")), head))
    });
    let rows: Vec<_> = heads.collect();
    let [data, n, sha256] = ["test.name", "test.images", "test.sha256"].map(|path| common(&reports, path));
    let [train, images, sum] = ["train.name", "train.images", "train.sha256"].map(|path| common(&reports, path));
    rows.iter().for_each(|(name, head)| assert_eq!(number(head, "n").to_string(), n, "{name}"));
    let measured = measured(&reports, &data, &n, &sha256);
    table("encoder; head", &rows)
        .below(&format!("{measured} Heads are fitted on {images} training images of {train}, SHA-256 `{sum}`."))
}
