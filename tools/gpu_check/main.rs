//! Runs tests, verification, sanitizers and benchmarks on a machine with a GPU, from programs built elsewhere: what `tools/gpu_check.sh`
//! packs and starts. Exit code 0 when nothing failed, 1 when something did, 2 when it could not begin.

mod kernels;
mod plan;
mod report;
mod stage;

use clap::Parser;
use plan::{Bundle, PARTS};
use report::{Machine, Report};
use rocl::device::cuda;
use rocl::device::kernel_status::{Status, gpu_elements};
use rocl::device::launch::KERNELS;
use stage::Stage;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Check the engine on a GPU
#[derive(Parser)]
struct Args {
    /// What to run: correctness, sanitizer, speed, or stages by their names; all by default
    #[arg(value_name = "PART|STAGE")]
    parts: Vec<String>,
    /// What to check: cuda or cuda:N; or cpu or simulated, to try the check itself
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// Folder for the reports; a later part goes on with the report there
    #[arg(long, default_value = "gpu-check")]
    out: PathBuf,
    /// Where the packed files are
    #[arg(long)]
    bundle: PathBuf,
    /// The Python of the peer
    #[arg(long, default_value = "python3")]
    python: String,
    /// Only say which stages there are
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match check(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn check(args: &Args) -> Result<bool, String> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()));
    let bundle = Bundle {
        root: absolute(&args.bundle)?,
        out: absolute(&args.out)?,
        device: args.device.clone(),
        python: args.python.clone(),
    };
    let all = PARTS.map(|part| (part, bundle.stages(part)));
    let is_stage = |name: &str| all.iter().any(|(_, stages)| stages.iter().any(|stage| stage.name == name));
    if let Some(unknown) = args.parts.iter().find(|asked| !PARTS.contains(&asked.as_str()) && !is_stage(asked)) {
        return Err(format!("there is no part or stage {unknown}; parts are {}, and --list lists the stages", PARTS.join(", ")));
    }
    let wanted = |part: &str, name: &str| args.parts.is_empty() || args.parts.iter().any(|asked| asked == part || asked == name);
    let stages: Vec<_> = all.iter().flat_map(|(part, stages)| stages.iter().filter(|stage| wanted(part, &stage.name))).collect();
    if args.list {
        stages.iter().for_each(|stage| println!("{}  (at most {} s)", stage.name, stage.limit.as_secs()));
        return Ok(true);
    }
    let io = |e: std::io::Error| format!("{}: {e}; name another folder by --out", bundle.out.display());
    std::fs::create_dir_all(&bundle.out).map_err(io)?;
    let machine = describe(&bundle)?;
    let mut report = Report::open(&bundle.out, machine, now(), is_stage);
    println!("{} stages on {}", stages.len(), report.machine.card);
    for stage in stages {
        if stage.name == "kernels" {
            // Nothing to remove is fine.
            let _ = std::fs::remove_file(bundle.launches());
        }
        let outcome = stage.run(&bundle.out);
        println!("{:9} {:7.1} s  {}", format!("{:?}", outcome.verdict).to_lowercase(), outcome.seconds, outcome.name);
        if !outcome.pass {
            println!("{}", indented(&outcome.tail));
        }
        let of_kernels = outcome.name == "kernels";
        report.add(outcome);
        report.write(&bundle.out).map_err(io)?;
        if of_kernels {
            write_status(&bundle, &report)?;
        }
    }
    let failed: Vec<&str> = report.stages.iter().filter(|stage| !stage.pass).map(|stage| stage.name.as_str()).collect();
    match failed.as_slice() {
        [] => println!("nothing failed; the report is {}", bundle.out.join("report.json").display()),
        failed => println!("failed: {}; the report is {}", failed.join(", "), bundle.out.join("report.json").display()),
    }
    Ok(report.pass)
}

/// What is checked, and by what.
fn describe(bundle: &Bundle) -> Result<Machine, String> {
    let commit = std::fs::read_to_string(bundle.root.join("commit")).unwrap_or_else(|_| "unknown".to_owned()).trim().to_owned();
    let doctor = doctor(bundle);
    let says = |name: &str| said(&doctor, name).unwrap_or("unknown").to_owned();
    let machine =
        Machine { device: bundle.device.clone(), driver: says("driver"), cudnn: says("cuDNN 9"), commit, ..Machine::default() };
    let Some(number) = bundle.device.strip_prefix("cuda") else {
        return Ok(Machine { card: format!("no GPU ({})", bundle.device), ..machine });
    };
    let number = number.strip_prefix(':').unwrap_or("0");
    let ordinal: usize =
        number.parse().map_err(|_| format!("--device is {:?}; give cuda, cuda:N, cpu or simulated", bundle.device))?;
    let gpus = cuda::start().and_then(|_| cuda::gpus()).map_err(|e| format!("there is no GPU to check: {e}"))?;
    let gpu = gpus.get(ordinal).ok_or_else(|| format!("there is no GPU {}; there are {} of them", bundle.device, gpus.len()))?;
    let (major, minor) = gpu.compute_capability;
    Ok(Machine { card: gpu.name.clone(), architecture: format!("sm_{major}{minor}"), ..machine })
}

/// What `rocl doctor` says, if it does so within its time.
fn doctor(bundle: &Bundle) -> serde_json::Value {
    let stage = Stage::new("doctor-json", bundle.root.join("bin/rocl"), &["doctor", "--json"], 120);
    stage.run(&bundle.out);
    let printed = std::fs::read_to_string(bundle.out.join("doctor-json.log")).unwrap_or_default();
    // Libraries may have said something before.
    let report = &printed[printed.find('{').unwrap_or_default()..];
    serde_json::Deserializer::from_str(report).into_iter().next().and_then(Result::ok).unwrap_or_default()
}

/// A line of it.
fn said<'a>(doctor: &'a serde_json::Value, name: &str) -> Option<&'a str> {
    let check = doctor["checks"].as_array()?.iter().find(|check| check["name"] == name)?;
    check["text"].as_str()
}

/// `status.json`: the record that comes with the program, with what the kernels' tests have shown now. Only a GPU has anything to say.
fn write_status(bundle: &Bundle, report: &Report) -> Result<(), String> {
    if report.machine.architecture.is_empty() {
        return Ok(());
    }
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let (launches, output) = (read(bundle.launches()), read(bundle.out.join("kernels.log")));
    let kinds = KERNELS
        .iter()
        .flat_map(|kernel| gpu_elements(kernel).into_iter().map(|element| (kernel.name.to_owned(), element.to_owned())));
    let known = kinds.collect();
    let mut status = Status::recorded().map_err(|e| e.to_string())?;
    status.update(kernels::entries(&launches, &output, &known, &report.machine, &report.date));
    println!("           {}", status.summary());
    let path = bundle.out.join("status.json");
    let json = serde_json::to_string_pretty(&status).map_err(|e| e.to_string())?;
    std::fs::write(&path, json + "\n").map_err(|e| format!("{}: {e}", path.display()))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// The time, as the system's `date` writes it.
fn now() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
