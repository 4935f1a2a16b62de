//! What reads files, and good files to begin with.

use crate::formats::*;
use crate::fuzz;
use flate2::Compression;
use flate2::write::GzEncoder;
use rocl::bench::compare::compare;
use rocl::data::cifar::Cifar;
use rocl::data::fetch::{Archive, Options, Sha256Sum, fetch};
use rocl::data::{Source, Split};
use rocl::recipe::Recipe;
use rocl::recipe::settings::preset_names;
use rocl::recipe::verify::Recording;
use rocl::run::checkpoint::{Checkpoint, Kind, Meta};
use rocl::run::metrics::Metrics;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

/// A folder to read from: in memory where there is such a place, since the disk is not what is tried.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// Puts the bytes into a file of that name, and has its folder opened as a data set.
fn as_data(name: &str) -> impl Fn(&[u8]) -> Result<(), String> {
    let (dir, name) = (folder(), name.to_owned());
    move |bytes| {
        put(dir.path().join(&name), bytes);
        let data = Source::Path(dir.path().to_owned()).open(Split::Test, None).map_err(|error| error.to_string())?;
        assert_eq!(data.images.len(), 3072 * data.labels.len());
        assert!(data.labels.iter().all(|&label| usize::from(label) < data.classes.len()));
        Ok(())
    }
}

/// Puts the bytes into a file of that name, and has it read.
pub fn as_file<T>(name: &str, read: impl Fn(&Path) -> rocl::Result<T>) -> impl Fn(&[u8]) -> Result<(), String> {
    let (dir, name) = (folder(), name.to_owned());
    move |bytes| {
        let file = dir.path().join(&name);
        put(&file, bytes);
        read(&file).map(drop).map_err(|error| error.to_string())
    }
}

#[test]
fn cifar_binary_files() {
    fuzz("cifar-10-binary", &[cifar_binary(&[0, 9], 0, None)], as_data("test_batch.bin"));
    fuzz("cifar-100-binary", &[cifar_binary(&[0, 99], 0, Some(7))], as_data("test.bin"));
}

#[test]
fn cifar_pickles() {
    fuzz("cifar-10-python", &[cifar_pickle("labels", &[0, 9, 4], 0)], as_data("test_batch"));
    fuzz("cifar-100-python", &[cifar_pickle("fine_labels", &[99], 0)], as_data("test"));
}

#[test]
fn stl10_files() {
    let images = stl10_images(&[&large_pixels(0), &large_pixels(1)]);
    let dir = folder();
    let read = |images: &[u8], labels: &[u8], unlabeled: &[u8]| {
        for (name, bytes) in [("train_X.bin", images), ("train_y.bin", labels), ("unlabeled_X.bin", unlabeled)] {
            put(dir.path().join(name), bytes);
        }
        let data = Source::Path(dir.path().to_owned()).open(Split::Train, None).map_err(|error| error.to_string())?;
        assert_eq!(data.images.len(), 3072 * data.labels.len());
        assert!(data.labels.iter().all(|&label| label < 10));
        let more = Source::Path(dir.path().to_owned()).open_with_unlabeled(None).map_err(|error| error.to_string())?;
        assert!(more.len() > data.len() && more.images.len() == 3072 * more.len());
        Ok(())
    };
    fuzz("stl10-images", std::slice::from_ref(&images), |bytes| read(bytes, &[1, 10], &images));
    fuzz("stl10-labels", &[vec![1, 10]], |bytes| read(&images, bytes, &images));
    fuzz("stl10-unlabeled", &[images[..27648].to_vec()], |bytes| read(&images, &[1, 10], bytes));
}

#[test]
fn npz_archives() {
    let arrays = || [("images", npy_images(0, 2)), ("labels", npy_labels(&[3, 200]))];
    fuzz("npz", &[npz(&arrays(), false), npz(&arrays(), true)], as_data("test.npz"));
}

/// Behind the archive's checksum, which few changes survive.
#[test]
fn npy_arrays() {
    let read = as_data("test.npz");
    fuzz("npy-images", &[npy_images(0, 2)], |bytes| read(&npz(&[("x", bytes.to_vec()), ("y", npy_labels(&[3, 200]))], true)));
    let labels = [npy_labels(&[3, 200]), npy(">i2", &[2, 1], &[0, 1, 0, 2])];
    fuzz("npy-labels", &labels, |bytes| read(&npz(&[("x", npy_images(0, 2)), ("y", bytes.to_vec())], true)));
}

#[test]
fn images() {
    let grey = png(32, 32, ::png::ColorType::GrayscaleAlpha, &[9, 255].repeat(1024));
    fuzz("png", &[png_of(0), grey], as_data("test/a/1.png"));
    let blocks: [u8; 16] = std::array::from_fn(|block| (block * 17) as u8);
    fuzz("jpeg", &[jpeg(&[blocks]), jpeg(&[blocks, [100; 16], [150; 16]])], as_data("test/a/1.jpg"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive whose sum is right, whatever is in it.
#[test]
fn downloaded_archives() {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in [("data_batch_1.bin", cifar_binary(&[0], 0, None)), ("test_batch.bin", cifar_binary(&[1], 1, None))] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..]).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let unpack = as_file("cifar-10-binary.tar.gz", |file| {
        let folder = file.parent().unwrap();
        let sha256 = Sha256Sum::of(file).unwrap();
        let archive = Archive { cifar: Cifar::Cifar10, url: "http://127.0.0.1:9/".to_owned(), sha256 };
        let fetched = fetch(&archive, folder, Options::default(), |_| {});
        let target = folder.join("cifar-10-batches-bin");
        if target.exists() {
            std::fs::remove_dir_all(target).unwrap();
        }
        fetched
    });
    fuzz("tar", std::slice::from_ref(&tar), |bytes| unpack(&gzip(bytes)));
    fuzz("tar-gz", &[gzip(&tar)], unpack);
}

fn checkpoint() -> Vec<u8> {
    let recipe = Recipe::load("demo@1").unwrap().to_json().unwrap();
    let mut checkpoint = Checkpoint::new(Meta::new(Kind::Pretrain, recipe, 1, "textures, 4 images"));
    checkpoint.put_f32("model/conv1.weight", &[2, 3, 3, 3], &[0.5; 54]).unwrap();
    checkpoint.put_i64("run/step", &[1], &[7]).unwrap();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    checkpoint.save(&path).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn checkpoints() {
    let read = |path: &Path| {
        let checkpoint = Checkpoint::load(path, Kind::Pretrain)?;
        checkpoint.digest();
        checkpoint.finite("model/conv1.weight", &[2, 3, 3, 3])?;
        checkpoint.i64("run/step", &[1])?;
        Recipe::from_json(&checkpoint.meta.recipe)
    };
    fuzz("checkpoint", &[checkpoint()], as_file("checkpoint.safetensors", read));
}

#[test]
fn recordings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/resnet18_w2_b2.safetensors");
    let whole = std::fs::read(path).unwrap();
    let read = |path: &Path| {
        let recording = Recording::open(path)?;
        recording.recipe()?;
        recording.classes()
    };
    fuzz("recording", &[whole], as_file("recording.safetensors", read));
}

#[test]
fn recipes() {
    let presets: Vec<Recipe> = preset_names().map(|name| Recipe::load(name).unwrap()).collect();
    let tomls: Vec<Vec<u8>> = presets.iter().map(|recipe| recipe.to_toml().unwrap().into_bytes()).collect();
    // What is accepted has to be fit for use.
    let used = |recipe: Recipe| {
        recipe.topology();
        recipe.projection_hidden();
        recipe.attack_groups();
        let rates = [0, recipe.train.epochs - 1].map(|epoch| recipe.learning_rate(epoch));
        assert!(rates.iter().all(|rate| rate.is_finite()), "{rates:?}");
    };
    fuzz("recipe", &tomls, as_file("mine.toml", |path| Recipe::load(path.to_str().unwrap()).map(used)));
    let jsons: Vec<Vec<u8>> = presets.iter().map(|recipe| recipe.to_json().unwrap().into_bytes()).collect();
    fuzz("recipe-json", &jsons, |bytes| {
        Recipe::from_json(&String::from_utf8_lossy(bytes)).map(used).map_err(|error| error.to_string())
    });
}

#[test]
fn logs_and_reports() {
    let run = std::collections::BTreeMap::from([("recipe", "toy")]);
    let log = b"{\"schema\":1,\"recipe\":\"toy\"}\n{\"epoch\":0,\"main\":1.5}\n{\"epoch\":1,\"main\":1.25}\n".to_vec();
    fuzz("metrics", &[log], as_file("metrics.jsonl", |path| Metrics::resume(path, &run, 1)));
    let report = br#"{"schema":1,"kind":"step","machine":{"cpu":"x"},"step":{"samples":[1.0,2.0,1.5],"median":1.5}}"#.to_vec();
    fuzz("report", &[report], as_file("report.json", |path| compare(path, path, 0.05, false)));
}
