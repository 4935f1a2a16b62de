//! What is read of models and of what was measured on them, and good files to begin with.

use crate::fuzz;
use crate::targets::as_file;
use rocl::data::validation::Validation;
use rocl::data::{Dataset, Split, textures};
use rocl::device::HostOptions;
use rocl::nn::Classifier;
use rocl::recipe::Recipe;
use rocl::recipe::adversaries::Adversaries;
use rocl::recipe::evaluate::Right;
use rocl::recipe::per_image::{Comparison, PerImage};
use rocl::recipe::saved;
use rocl::recipe::settings::{NamedAttack, Number};
use rocl::recipe::trained::Encoder;
use rocl::recipe::training::Training;
use rocl::run::checkpoint::{Checkpoint, Kind, Meta};
use rocl::{Device, Result};
use std::path::Path;
use tempfile::TempDir;

fn data() -> Dataset {
    textures::render(textures::SEED, Split::Train, 4)
}

/// The smallest network there is, so that much of a file is not numbers.
fn recipe() -> Recipe {
    let mut recipe = Recipe::load("demo@1").unwrap();
    recipe.network.width = 1;
    recipe.network.projection_hidden = Some(1);
    recipe.network.projection = 1;
    recipe.train.batch_size = 2;
    recipe.evaluate.batch_size = 2;
    recipe.check().unwrap();
    recipe
}

fn device() -> Device {
    Device::host_with(HostOptions { threads: 1, ..HostOptions::default() }).unwrap()
}

fn written(save: impl FnOnce(&Path) -> Result<()>) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("file");
    save(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn trained(device: &Device) -> Vec<u8> {
    let mut training = Training::<f32>::new(device, &recipe(), &data()).unwrap();
    training.advance().unwrap();
    written(|path| training.save(path))
}

/// Whatever is accepted can be gone on with.
#[test]
fn runs_that_are_resumed() {
    let (device, recipe, data) = (device(), recipe(), data());
    let read = |path: &Path| {
        let checkpoint = Checkpoint::load(path, Kind::Pretrain)?;
        Training::<f32>::resume(&device, &recipe, &data, &checkpoint).map(drop)
    };
    fuzz("resumed", &[trained(&device)], as_file("checkpoint.safetensors", read));
}

#[test]
fn encoders_and_heads() {
    let (device, recipe) = (device(), recipe());
    let encoder = trained(&device);
    let load = |path: &Path| Encoder::<f32>::load(&device, &recipe, &Checkpoint::load_encoder(path)?);
    fuzz("encoder", std::slice::from_ref(&encoder), as_file("checkpoint.safetensors", load));

    let loaded = Encoder::<f32>::untrained(&device, &recipe).unwrap();
    let head: Classifier<f32> = loaded.new_head(10, 2, 0).unwrap();
    let checkpoint = {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("encoder");
        std::fs::write(&path, encoder).unwrap();
        Checkpoint::load_encoder(&path).unwrap()
    };
    let meta = Meta::new(Kind::LinearHead, recipe.to_json().unwrap(), 0, "textures, 4 images");
    let file = written(|path| {
        let mut kept = Checkpoint::new(meta);
        kept.put_i64("run/encoder", &[1], &[checkpoint.digest()])?;
        saved::save_head(&mut kept, &head)?;
        kept.save(path)
    });
    let load = |path: &Path| saved::load_head(&Checkpoint::load_head(path)?, &head);
    fuzz("head", &[file], as_file("head.safetensors", load));
}

#[test]
fn kept_adversaries() {
    let attacks = ["pgd:linf:8/255:20", "fgsm:l2:0.5"];
    let sets = attacks.map(|attack| (attack.to_owned(), vec![0.5; 2 * 3072])).into();
    let kept = Adversaries { data: "textures".to_owned(), labels: vec![3, 1], sets };
    let read = |path: &Path| -> Result<()> {
        let mut read = Adversaries::load(path)?;
        assert!(read.sets.iter().all(|(_, values)| values.len() == 3072 * read.labels.len()));
        read.keep_first(1);
        read.bytes();
        Ok(())
    };
    fuzz("adversaries", &[written(|path| kept.save(path))], as_file("adversaries.safetensors", read));
}

#[test]
fn results_by_image() {
    let attacks = ["pgd:linf:8/255:20".parse().unwrap()];
    let right = Right { clean: vec![true, false, true, true], attacked: vec![vec![false, false, true, false]] };
    let here = PerImage::new(Path::new("run/checkpoint.safetensors"), &data(), &attacks, &right);
    let file = written(|path| {
        here.save(path.parent().unwrap())?;
        std::fs::rename(path.with_file_name("per_image.json"), path).unwrap();
        Ok(())
    });
    let read = |path: &Path| -> Result<()> {
        let there = PerImage::load(path)?;
        for Comparison { p, .. } in here.against(&there)? {
            assert!((0.0..=1.0).contains(&p), "{p}");
        }
        Ok(())
    };
    fuzz("per-image", &[file], as_file("per_image.json", read));
}

/// What is accepted has a name, and is what that name means.
#[test]
fn arguments() {
    let seeds = [
        "pgd:linf:8/255:20",
        "pgd:l2:0.5:100:step=0.01:start=image",
        "pgd:l1:12:20:restarts=5:margin:eot",
        "fgsm:linf:8/255:kl:start=random",
    ];
    fuzz("attack", &seeds.map(|seed| seed.as_bytes().to_vec()), |bytes| {
        let attack: NamedAttack = String::from_utf8_lossy(bytes).parse().map_err(|error: rocl::Error| error.to_string())?;
        assert_eq!(attack.to_string().parse::<NamedAttack>().unwrap(), attack);
        assert!(attack.title().len() < 200, "{}", attack.title());
        Ok(())
    });
    fuzz("number", &["8/255", "0.0314", "1e-7", "-2.5"].map(|seed| seed.as_bytes().to_vec()), |bytes| {
        let number: Number = String::from_utf8_lossy(bytes).parse().map_err(|error: rocl::Error| error.to_string())?;
        assert!(number.value().is_finite() && number.to_string().len() < 30, "{number}");
        assert_eq!(number.to_string().parse::<Number>().unwrap(), number);
        Ok(())
    });
    let data = data();
    fuzz("validation", &["0.1", "3", "1e-3"].map(|seed| seed.as_bytes().to_vec()), |bytes| {
        let part: Validation = String::from_utf8_lossy(bytes).parse().map_err(|error: rocl::Error| error.to_string())?;
        // Either no part is empty, or there is a sentence; here both are fine.
        if let Ok((rest, held_out)) = part.split(&data) {
            assert!(!rest.labels.is_empty() && !held_out.labels.is_empty());
        }
        Ok(())
    });
}
