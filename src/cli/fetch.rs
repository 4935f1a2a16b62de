//! `rocl fetch`.

use super::output::print;
use crate::data::cifar::Cifar;
use crate::data::fetch::{Archive, Fetched, Options, Progress, Sha256Sum, fetch};
use crate::data::{Source, Split};
use crate::{Error, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
What --data of other commands takes, told apart by the names of the files:
  textures                                    built in
  DIR/data_batch_1.bin … test_batch.bin       CIFAR-10, binary (what fetch brings)
  DIR/train.bin, test.bin                     CIFAR-100, likewise
  DIR/data_batch_1 … or DIR/train, test       the same in Python (torchvision's)
  DIR/train_X.bin, train_y.bin, test_…        STL-10, scaled to 32×32
  DIR/train.npz, test.npz                     images uint8 [n, 32, 32, 3], labels
  FILE.npz                                    train_images, train_labels, test_…
  DIR/train/CLASS/*.png, test/CLASS/*.png     PNG or JPEG, 32×32 pixels

Examples:
  rocl fetch cifar10
  rocl fetch cifar100 --data ~/data --url https://example.org/cifar-100.tar.gz";

/// Download CIFAR-10 or CIFAR-100
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to download
    #[arg(value_enum)]
    set: Set,
    /// Folder to put it into
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Another place to download the same archive from
    #[arg(long, value_name = "URL", value_parser = address)]
    url: Option<String>,
    /// SHA-256 of the archive there, if it is not its authors'
    #[arg(long, value_name = "SUM", requires = "url")]
    sha256: Option<Sha256Sum>,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Set {
    Cifar10,
    Cifar100,
}

/// Only these can be downloaded from.
fn address(text: &str) -> Result<String, String> {
    let known = ["https://", "http://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    match text.parse::<ureq::http::Uri>() {
        _ if !known => Err("addresses begin with https:// or http://".to_owned()),
        Err(error) => Err(format!("it is no address ({error}); copy it again")),
        Ok(_) => Ok(text.to_owned()),
    }
}

/// Downloads the data set, and says what is next.
///
/// # Errors
/// Those of [`fetch()`], and of reading what it brought.
pub fn run(args: Args) -> Result<()> {
    let cifar = match args.set {
        Set::Cifar10 => Cifar::Cifar10,
        Set::Cifar100 => Cifar::Cifar100,
    };
    let official = Archive::official(cifar);
    let archive = Archive {
        cifar,
        url: args.url.unwrap_or(official.url),
        // Another place has to give the same bytes, unless others are asked for in so many words.
        sha256: args.sha256.unwrap_or(official.sha256),
    };
    let bar = (!args.quiet && std::io::stderr().is_terminal()).then(|| bar(cifar));
    let fetched = fetch(&archive, &args.data, Options::default(), |progress| show(bar.as_ref(), progress));
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let (folder, found) = match fetched? {
        Fetched::Before(folder) => {
            let found = describe(&folder).map_err(|error| incomplete(&folder, &error))?;
            (folder, format!("{found}; it was there already"))
        }
        Fetched::Now(folder) => {
            let found = describe(&folder)?;
            (folder, found)
        }
    };
    print(format!("{found}\n\nNext: rocl pretrain --data {} --recipe cifar-small --out run", folder.display()))
}

/// `cifar-10 in data/cifar-10-batches-bin: 50000 images to train on, 10000 to test on`. Reads all of it, so that what is damaged is found now.
fn describe(folder: &Path) -> Result<String> {
    let source = Source::Path(folder.to_owned());
    let (train, test) = (source.open(Split::Train, None)?, source.open(Split::Test, None)?);
    Ok(format!("{} in {}: {} images to train on, {} to test on", train.name, folder.display(), train.len(), test.len()))
}

fn incomplete(folder: &Path, error: &Error) -> Error {
    Error::file(folder, format!("is there, but not as it should be; delete it and run the command again ({error})"))
}

fn bar(cifar: Cifar) -> ProgressBar {
    let bar = ProgressBar::no_length().with_message(cifar.name());
    // A template that does not parse would be a slip in this line; the plain bar then serves.
    let style = ProgressStyle::with_template(
        "{msg}  {bar:24} {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left",
    );
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: Option<&ProgressBar>, progress: Progress) {
    let Some(bar) = bar else { return };
    if let Some(total) = progress.total.filter(|&total| bar.length() != Some(total)) {
        bar.set_length(total);
        // What an earlier attempt brought says nothing about how long the rest takes.
        bar.set_position(progress.done);
        bar.reset_eta();
    }
    bar.set_position(progress.done);
}
