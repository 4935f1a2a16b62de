//! What classifiers have right, in `docs/results.md`.

use crate::report::{Markdown, commit, common, list, load, number, text};
use rocl::recipe::per_image::{Comparison, PerImage};
use rocl::recipe::settings::Number;
use serde_json::Value;

/// What a row is called, its report in `docs/results/study/`, and what that has to say of its model: the method, and the folder of the head.
const STUDY: [(&str, &str, &str, &str); 6] = [
    ("supervised, cross-entropy", "ce", "ce", "ce"),
    ("supervised, AT", "at", "at", "at"),
    ("SimCLR, LE", "simclr", "simclr", "simclr"),
    ("RoCL, LE", "rocl", "rocl", "rocl"),
    ("RoCL, r-LE", "rocl-rle", "rocl", "rocl-rle"),
    ("RoCL + AT", "rocl-at", "at", "rocl-at"),
];

/// Models of the study that are compared image by image.
const PAIRS: [(&str, &str); 3] = [("rocl-rle", "at"), ("rocl-at", "at"), ("simclr", "rocl")];

/// Encoders whose heads are measured on other data, in `docs/results/transfer/`.
const TRANSFER: [(&str, &str); 3] = [("supervised, AT", "at"), ("SimCLR", "simclr"), ("RoCL", "rocl")];

const TEXTURES: [(&str, &str); 2] = [("SimCLR, LE", "simclr"), ("RoCL, LE", "rocl")];

/// What the official images are here.
const JPEG: &str = "JPEG copies of ";

/// `41.02 (40.1 to 42.0)`.
fn accuracy(measured: &Value) -> String {
    let [right, low, high] = ["accuracy", "low", "high"].map(|key| number(measured, key));
    format!("{right:.2} ({low:.1} to {high:.1})")
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

/// Of `rocl evaluate`, in that folder of `docs/results/`; what the images are of the data set.
fn evaluations(folder: &str, files: &[(&str, &str)], copies: &str) -> String {
    let reports: Vec<Value> = files.iter().map(|(_, file)| load(&format!("docs/results/{folder}/{file}.json"))).collect();
    let rows: Vec<_> = files.iter().zip(&reports).map(|((name, _), report)| ((*name).to_owned(), report)).collect();
    let trained = common(&reports, "trained.data");
    let (data, n, sha256) = (common(&reports, "data"), common(&reports, "n"), common(&reports, "sha256"));
    let measured = measured(&reports, &format!("{copies}{data}"), &n, &sha256);
    table("model", &rows).below(&format!("{measured} Trained on {copies}{trained}, seed {}.", common(&reports, "trained.seed")))
}

pub fn study() -> String {
    for (name, file, method, folder) in STUDY {
        let report = load(&format!("docs/results/study/{file}.json"));
        let head = text(&report, "head").rsplit('/').nth(1);
        assert_eq!((text(&report, "trained.method"), head), (method, Some(folder)), "{name}");
    }
    evaluations("study", &STUDY.map(|(name, file, ..)| (name, file)), JPEG)
}

/// Two models of the study on the same images: how many only one of them gets right, and McNemar's exact test.
pub fn pairs() -> String {
    let results = |file: &str| {
        let path = crate::common::root().join(format!("docs/results/study/{file}.per_image.json"));
        PerImage::load(&path).unwrap()
    };
    let named = |file: &str| STUDY.iter().find(|(_, of, ..)| *of == file).unwrap().0;
    let compared = PAIRS.map(|(here, there)| results(here).against(&results(there)).unwrap());
    let titles = list(&load("docs/results/study/ce.json"), "attacks").iter().map(title).collect::<Vec<_>>();
    let worst = "worst for each image".to_owned();
    let mut table = Markdown::new(["right alone".to_owned(), "clean".to_owned()].into_iter().chain(titles).chain([worst]));
    for ((here, there), found) in PAIRS.iter().zip(&compared) {
        let cell = |found: &Comparison| {
            let p = if found.p < 1e-4 { "p < 0.0001".to_owned() } else { format!("p = {:.4}", found.p) };
            format!("{} : {}, {p}", found.only_here, found.only_there)
        };
        table.row([format!("{} : {}", named(here), named(there))].into_iter().chain(found.iter().map(cell)));
    }
    table.below(
        "Images that only the first or only the second of a pair gets right, and McNemar's exact test, two-sided, as `rocl evaluate --against` has it.",
    )
}

pub fn textures() -> String {
    evaluations("textures", &TEXTURES, "")
}

/// Accuracies under attacks of this program, and of those of public libraries on the same images.
pub fn libraries() -> String {
    let (here, there) = (load("docs/results/libraries/here.json"), load("docs/results/libraries/there.json"));
    assert_eq!(number(&here, "n"), number(&there, "n"), "images");
    assert_eq!(text(&here, "sha256"), text(&there, "sha256"), "the same images");
    let mut table = Markdown::new(["attack", "start", "here", "library"]);
    for attack in list(&here, "attacks") {
        let value = |key: &str| text(attack, key).parse::<Number>().unwrap().value();
        let budget = format!("{}:{}:{}:{}", text(attack, "norm"), value("epsilon"), value("step_size"), number(attack, "steps"));
        assert!(list(&there, "attacks").iter().any(|budgets| budgets == &budget), "{budget}");
        let (norm, start) = (text(attack, "norm"), text(attack, "start"));
        let library = number(&there["accuracy"], &format!("{norm}/{start}"));
        table.row([title(attack), start.to_owned(), accuracy(attack), format!("{library:.2}")]);
    }
    let versions =
        ["torch", "torchattacks", "foolbox"].map(|name| format!("{name} {}", text(&there, &format!("versions.{name}"))));
    let reports = [here];
    let [data, n, sha256] = ["data", "n", "sha256"].map(|path| common(&reports, path));
    table.below(&format!("{} {}.", measured(&reports, &format!("{JPEG}{data}"), &n, &sha256), versions.join(", ")))
}

pub fn transfer() -> String {
    let reports: Vec<Value> = TRANSFER.iter().map(|(_, file)| load(&format!("docs/results/transfer/{file}.json"))).collect();
    let heads = TRANSFER.iter().zip(&reports).flat_map(|((name, _), report)| {
        list(report, "heads").iter().map(move |head| (format!("{name}; {} head", text(head, "head")), head))
    });
    let rows: Vec<_> = heads.collect();
    common(&reports, "trained.data");
    let [data, n, sha256] = ["test.name", "test.images", "test.sha256"].map(|path| common(&reports, path));
    let [train, images, sum] = ["train.name", "train.images", "train.sha256"].map(|path| common(&reports, path));
    rows.iter().for_each(|(name, head)| assert_eq!(number(head, "n").to_string(), n, "{name}"));
    let measured = measured(&reports, &data, &n, &sha256);
    table("encoder; head", &rows)
        .below(&format!("{measured} Heads are fitted on {images} training images of {train}, SHA-256 `{sum}`."))
}
