//! What steps cost, in `docs/performance.md`.

use crate::report::{Markdown, commit, common, list, load, number, text};
use serde_json::Value;

fn report(file: &str) -> Value {
    load(&format!("benches/results/{file}"))
}

fn ms(seconds: f64) -> String {
    digits(seconds * 1e3)
}

/// Three digits, as far as they are there.
fn digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let before = value.abs().log10().floor() as i32 + 1;
    let behind = usize::try_from((3 - before).max(0)).unwrap();
    format!("{value:.behind$}")
}

fn from_to(value: &Value) -> String {
    format!("{} … {}", ms(number(value, "min")), ms(number(value, "max")))
}

fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", 100.0 * part / whole)
}

/// `Commit abc, AMD EPYC, AVX2, CPU, 2 threads.`
fn by(report: &Value) -> String {
    let reports = std::slice::from_ref(report);
    let machine = ["cpu", "instructions", "device"].map(|key| report["machine"][key].as_str());
    format!("Commit `{}`, {}.", commit(reports), machine.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// The engine and PyTorch by turns.
pub fn peers(file: &str) -> String {
    let report = report(file);
    let contenders = list(&report, "contenders");
    assert_eq!(list(&report, "disagreements"), &[] as &[Value], "their losses agree");
    let engine = list(&contenders[0], "runs");
    let mut table = Markdown::new([
        "contender",
        "ms a step",
        "fastest … slowest",
        "memory, MiB",
        "times the engine's time",
        "least … most",
        "95 % interval",
    ]);
    for contender in contenders {
        let (name, step, runs) = (text(contender, "name"), &contender["step"], list(contender, "runs"));
        assert_eq!(runs.len(), engine.len(), "{name} ran in every round");
        let memory = runs.iter().map(|run| number(run, "peak_memory.resident_bytes")).fold(0.0, f64::max);
        let ratio = list(&report, "ratios").iter().find(|ratio| text(ratio, "peer") == name);
        let ratio = ratio.map_or(["1".to_owned(), String::new(), String::new()], |ratio| {
            let [median, least, most] = ["median", "min", "max"].map(|key| number(ratio, key));
            let interval = list(ratio, "interval_95").iter().map(|end| format!("{:.2}", end.as_f64().unwrap()));
            let interval = interval.collect::<Vec<_>>().join(" to ");
            [format!("{median:.2}"), format!("{least:.2} … {most:.2}"), interval]
        });
        let memory = format!("{:.0}", memory / f64::from(1 << 20));
        table.row([name.to_owned(), ms(number(step, "median")), from_to(step), memory].into_iter().chain(ratio));
    }
    let load = |when: &str| format!("{:.1}", list(&report["machine"], when)[0].as_f64().unwrap());
    table.below(&format!(
        "{} rounds, steps in each: {}. PyTorch {}; load of the machine before {}, after {}. {} {}.",
        engine.len(),
        number(&report, "settings.steps"),
        text(&report, "machine.versions.torch"),
        load("load_before"),
        load("load_after"),
        by(&engine[0]),
        text(&report, "date").split('T').next().unwrap(),
    ))
}

/// A step, phase by phase, at both widths.
pub fn phases() -> String {
    let reports = ["cpu-avx2/width16-step.json", "cpu-avx2/width64-step.json"].map(report);
    let mut table = Markdown::new([
        "phase",
        "width 16: ms",
        "of the step",
        "calls",
        "GFLOP",
        "floor, ms",
        "width 64: ms",
        "of the step",
        "GFLOP",
        "floor, ms",
    ]);
    let steps = reports.each_ref().map(|report| number(report, "step.median"));
    let all = reports.each_ref().map(|report| list(report, "phases"));
    let sum = |width: usize, key: &str| all[width].iter().map(|phase| number(phase, key)).sum::<f64>();
    for (narrow, wide) in all[0].iter().zip(all[1]) {
        assert_eq!(narrow["name"], wide["name"]);
        let shared = |phase: &Value, step| [ms(number(phase, "time.median")), percent(number(phase, "time.median"), step)];
        let floor = |phase: &Value| [digits(number(phase, "flops") / 1e9), ms(number(phase, "floor"))];
        let calls = number(narrow, "calls").to_string();
        let cells = [text(narrow, "name").to_owned()].into_iter().chain(shared(narrow, steps[0])).chain([calls]);
        table.row(cells.chain(floor(narrow)).chain(shared(wide, steps[1])).chain(floor(wide)));
    }
    let share = |width| {
        let percent = percent(sum(width, "time.median"), steps[width]);
        [ms(steps[width]), format!("phases: {percent}")]
    };
    let floor = |width| [digits(sum(width, "flops") / 1e9), ms(sum(width, "floor"))];
    let cells = ["the step".to_owned()].into_iter().chain(share(0)).chain([sum(0, "calls").to_string()]).chain(floor(0));
    table.row(cells.chain(share(1)).chain(floor(1)));
    let mib = |report: &Value, what: &str| format!("{:.0}", number(report, &format!("peak_memory.{what}")) / f64::from(1 << 20));
    let memory = reports.each_ref().map(|report| {
        format!("{} MiB resident, of which tensors have {}", mib(report, "resident_bytes"), mib(report, "device_bytes"))
    });
    assert_eq!(common(&reports, "machine"), reports[0]["machine"].to_string(), "one machine and one commit");
    table.below(&format!("{} Peak memory: {}; at width 64 {}.", by(&reports[0]), memory[0], memory[1]))
}

/// `1.76 (1.70 … 1.81)`, of ratios by rounds.
fn factor(ratio: &Value) -> String {
    let [median, least, most] = ["median", "min", "max"].map(|key| number(ratio, key));
    format!("{median:.2} ({least:.2} … {most:.2})")
}

/// How the attack got fast.
pub fn ladder() -> String {
    let report = report("cpu-avx2/width16-attack.json");
    let mut table = Markdown::new(["rung", "ms an attack", "min … max", "gain", "in all"]);
    let rungs = list(&report, "ladder");
    let cells = |rung: &Value| [text(rung, "name").to_owned(), ms(number(rung, "time.median")), from_to(&rung["time"])];
    table.row(cells(&rungs[0]).into_iter().chain([String::new(), String::new()]));
    for rung in &rungs[1..] {
        table.row(cells(rung).into_iter().chain(["gain", "in_all"].map(|key| factor(&rung[key]))));
    }
    let samples = list(&rungs[0]["time"], "samples").len();
    table.below(&format!("Each rung has all of those before it. {samples} rounds. {}", by(&report)))
}

/// What all calls of a name take in a step, by batch size.
pub fn sizes() -> String {
    let report = report("cpu-avx2/width16-kernels-by-size.json");
    let sizes = list(&report, "sizes");
    let batches: Vec<f64> = sizes.iter().map(|size| number(size, "batch_size")).collect();
    let per_batch = |text: &str| batches.iter().map(|batch| text.replace('#', &batch.to_string())).collect::<Vec<_>>();
    let header = ["call".to_owned(), "calls".to_owned()].into_iter().chain(per_batch("B = #: ms"));
    let mut table = Markdown::new(header.chain(per_batch("floor, #")));
    let of = |size: &Value, name: &str, value: &dyn Fn(&Value) -> f64| -> f64 {
        list(size, "calls").iter().filter(|call| text(call, "name") == name).map(|call| value(call) * number(call, "calls")).sum()
    };
    let largest = sizes.last().unwrap();
    let time = |call: &Value| number(call, "time.median");
    let mut names: Vec<&str> = list(largest, "calls").iter().map(|call| text(call, "name")).collect();
    names.sort_unstable();
    names.dedup();
    names.sort_by(|a, b| of(largest, b, &time).total_cmp(&of(largest, a, &time)));
    for name in names {
        let calls = of(largest, name, &|_| 1.0).to_string();
        let times = sizes.iter().map(|size| ms(of(size, name, &time)));
        let floors = sizes.iter().map(|size| ms(of(size, name, &|call| number(call, "floor"))));
        table.row([format!("`{name}`"), calls].into_iter().chain(times).chain(floors));
    }
    table.below(&by(&report))
}
