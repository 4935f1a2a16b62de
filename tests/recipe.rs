//! Recipes: presets, round trips, and the sentence for every mistake.

mod common;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocl::Error;
use rocl::optim::schedule::Schedule;
use rocl::recipe::Recipe;
use rocl::recipe::settings::{Method, Number, Optimizer, Overrides, preset, preset_names, presets};

/// A minimal file with `lines` after its head.
fn read(lines: &str) -> Result<Recipe, Error> {
    Recipe::from_toml(&format!("schema = 1\nname = \"test\"\n{lines}"))
}

#[track_caller]
fn refused(lines: &str, expected: &str) {
    let error = read(lines).expect_err(lines);
    assert_eq!(error.exit_code(), 2, "{lines}");
    assert_eq!(error.to_string(), expected, "{lines}");
}

#[test]
fn presets_are_complete_and_bear_their_names() {
    let reference = toml::Table::try_from(Recipe::load("reference@1").unwrap()).unwrap();
    for name in preset_names() {
        let recipe = Recipe::load(name).unwrap();
        assert_eq!(recipe.name, name);
        let stem = name.split('@').next().unwrap();
        assert_eq!(recipe, Recipe::load(stem).unwrap(), "{stem} is the newest version");
        // Every key stands in the file, so that nothing of a frozen preset depends on another one, or the base does that it names, with its version.
        let written: toml::Table = preset(name).unwrap().text.parse().unwrap();
        if let Some(base) = written.get("base") {
            assert!(preset_names().any(|name| Some(name) == base.as_str()), "{name}: base = {base}");
            continue;
        }
        assert_eq!(written, toml::Table::try_from(&recipe).unwrap(), "{name}");
        for (section, keys) in &reference {
            let Some(keys) = keys.as_table().filter(|keys| !keys.contains_key("kind")) else { continue };
            assert!(written[section].as_table().unwrap().keys().eq(keys.keys()), "{name}: [{section}]");
        }
    }
}

#[test]
fn the_reference_is_the_released_code() {
    let recipe = Recipe::load("reference").unwrap();
    assert_eq!((recipe.attack.epsilon, recipe.attack.step_size), (Number::Decimal(0.0314), Number::Decimal(0.007)));
    assert_eq!((recipe.attack.steps, recipe.train.batch_size, recipe.attack_groups()), (7, 512, 2));
    assert_eq!((recipe.projection_hidden(), recipe.network.projection), (2048, 128));
    assert_eq!(recipe.optimizer, Optimizer::Lars { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-6, trust: 1e-3 });
    let paper = Recipe::load("paper").unwrap();
    assert_eq!((paper.attack.epsilon, paper.attack.step_size), (Number::Fraction(8, 255), Number::Fraction(2, 255)));
}

/// The rates that PyTorch gave the released code, epoch by epoch.
#[test]
fn the_reference_has_the_recorded_learning_rates() {
    let recipe = Recipe::load("reference@1").unwrap();
    // Some of them, for where the whole recording is not at hand: both ends of the warm-up, what follows it, the last.
    let some = [
        (0, 0.24),
        (8, 1.36),
        (9, 1.5),
        (10, 1.5000037011077383),
        (11, 1.5),
        (12, 1.4999888967133128),
        (999, 0.0004477898386465583),
    ];
    let mut recorded = some.to_vec();
    if let Some(path) = common::shared("lr_schedule_1000.json") {
        let text = std::fs::read_to_string(path).unwrap();
        recorded = (0..).zip(serde_json::from_str::<Vec<f64>>(&text).unwrap()).collect();
    }
    for (epoch, rate) in recorded {
        let got = recipe.learning_rate(epoch);
        // A thousand f64 roundings of PyTorch's recurrence.
        assert!((got / rate - 1.0).abs() < 1e-9, "epoch {epoch}: {got} is not {rate}");
    }
}

#[test]
fn keys_left_out_are_those_of_the_reference() {
    let mut expected = Recipe::load("reference@1").unwrap();
    expected.name = "test".to_owned();
    assert_eq!(read("").unwrap(), expected);
    expected.attack.epsilon = Number::Fraction(4, 255);
    expected.optimizer = Optimizer::Sgd { learning_rate: 1.0, momentum: 0.0, weight_decay: 0.0 };
    expected.schedule = Schedule::Constant;
    let text = "schedule.kind = 'constant'\n[attack]\nepsilon = '4/255'\n[optimizer]\nkind = 'sgd'\n\
                learning_rate = 1\nmomentum = 0\nweight_decay = 0";
    assert_eq!(read(text).unwrap(), expected);
}

#[test]
fn a_base_supplies_the_keys_left_out() {
    let mut expected = Recipe::load("supervised@1").unwrap();
    expected.name = "test".to_owned();
    assert_eq!(read("base = 'supervised'").unwrap(), expected);
    expected.train.method = Method::Trades;
    expected.schedule = Schedule::Constant;
    assert_eq!(read("base = 'supervised@1'\ntrain.method = 'trades'\nschedule.kind = 'constant'").unwrap(), expected);
    // A base has one, too.
    let (row, mut base) = (Recipe::load("paper-resnet50-simclr@1").unwrap(), Recipe::load("paper@1").unwrap());
    let differences = ["name", "network.architecture", "train.method"];
    assert!(row.differences(&base).iter().zip(differences).all(|(found, key)| found.starts_with(key)));
    assert_eq!(row.differences(&base).len(), differences.len());
    base.name = "test".to_owned();
    base.attack.steps = 3;
    assert_eq!(read("base = 'paper-steps-3@1'").unwrap(), base);

    refused("base = 7", "base is 7; write the name of a preset, such as base = \"paper@1\"");
    let rest = "Presets are reference@1, paper@1 and what else `rocl recipes` lists, and a base is one of them";
    refused("base = 'papr'", &format!("there is no recipe `papr`; did you mean paper@1? {rest}"));
    refused("bas = 'paper'", "bas is not a recipe key; did you mean base?");
    // That the keys of another kind have no effect is seen through a base.
    refused(
        "base = 'demo@1'\noptimizer.trust = 0.1",
        "optimizer.trust has no effect with optimizer.kind = \"adamw\"; remove it or change the kind",
    );
}

/// A line of `rocl recipes` fits a terminal, and its command takes the method.
#[test]
fn presets_say_what_they_are_and_who_takes_them() {
    for preset in presets() {
        let method = Recipe::load(preset.name).unwrap().train.method;
        let fits = match preset.command {
            "pretrain" => !method.trains_a_classifier(),
            "train" | "finetune" => method.trains_a_classifier(),
            command => command == "linear-eval",
        };
        assert!(fits, "{} of `rocl {}` has the method {method:?}", preset.name, preset.command);
        assert!((1..=38).contains(&preset.about.chars().count()), "{}: {}", preset.name, preset.about);
        assert!(preset.text.starts_with("# "), "{} begins with a comment that says what it is", preset.name);
    }
}

#[test]
fn normalization_is_read_and_checked() {
    let line = "network.normalization = { mean = [0.5, 0.25, 0], std = [0.25, 0.5, 1] }";
    let recipe = read(line).unwrap();
    let expected = rocl::nn::Normalization { mean: [0.5, 0.25, 0.0], std: [0.25, 0.5, 1.0] };
    assert_eq!((recipe.network.normalization, recipe.topology().normalization), (Some(expected), Some(expected)));
    assert_eq!(Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap(), recipe);
    assert_eq!(Recipe::from_json(&recipe.to_json().unwrap()).unwrap(), recipe);
    let section = "[network.normalization]\nmean = [0.5, 0.25, 0]\nstd = [0.25, 0.5, 1]";
    assert_eq!(read(section).unwrap(), recipe);
    refused(
        "network.normalization = { mean = [0, 0, 0], std = [1, 0, 1] }",
        "network.normalization.std is 0, but must be at least 0.001 and at most 1000",
    );
    for wrong in
        ["{ mean = [0, 0, 0] }", "{ mean = [0, 0, 0], std = [1, 1] }", "{ mean = [0, 0, 0], std = [1, 1, 1], var = 1 }", "3"]
    {
        let message = read(&format!("network.normalization = {wrong}")).unwrap_err().to_string();
        assert!(message.contains("network.normalization"), "{message}");
    }
}

#[test]
fn recipes_survive_toml_and_json() {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    for name in preset_names() {
        for _ in 0..200 {
            let mut recipe = Recipe::load(name).unwrap();
            recipe.name = "ein \"Name\"\nmit ε".to_owned();
            recipe.train.seed = random.random_range(0..=i64::MAX as u64);
            recipe.network.projection_hidden = random.random_bool(0.5).then(|| random.random_range(1..1000));
            recipe.attack.epsilon = Number::Decimal(random.random());
            recipe.attack.step_size = Number::Fraction(random.random_range(0..255), 255);
            recipe.augment.crop_scale[0] = random.random::<f64>() * 1e-12 + f64::MIN_POSITIVE;
            recipe.loss.lambda = 10f64.powf(random.random_range(-300.0..9.0));
            recipe.linear_eval.milestones = vec![1, 2];
            recipe.check().unwrap();
            assert_eq!(Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap(), recipe);
            assert_eq!(Recipe::from_json(&recipe.to_json().unwrap()).unwrap(), recipe);
        }
    }
}

#[test]
fn unknown_keys_suggest_the_nearest() {
    refused("attack.epsilom = 1", "attack.epsilom is not a recipe key; did you mean attack.epsilon?");
    refused("attack.stepsize = 1", "attack.stepsize is not a recipe key; did you mean attack.step_size?");
    refused(
        "network.projection_hiden = 1",
        "network.projection_hiden is not a recipe key; did you mean network.projection_hidden?",
    );
    refused("attack.lambda = 1", "attack.lambda is not a recipe key; did you mean loss.lambda?");
    refused("epochs = 1", "epochs is not a recipe key; did you mean train.epochs?");
    refused("[atack]\nsteps = 1", "atack is not a recipe key; did you mean attack?");
    refused("frobnicate = 1", "frobnicate is not a recipe key; `rocl recipe reference@1` prints all keys");
    refused("attack.frobnicate = 1", "attack.frobnicate is not a recipe key; `rocl recipe reference@1` prints all keys");
}

#[test]
fn keys_without_effect_are_refused() {
    refused(
        "optimizer.beta1 = 0.9",
        "optimizer.beta1 has no effect with optimizer.kind = \"lars\"; remove it or change the kind",
    );
    let constant = "schedule = { kind = 'constant', warmup_epochs = 3 }";
    refused(constant, "schedule.warmup_epochs has no effect with schedule.kind = \"constant\"; remove it or change the kind");
}

#[test]
fn values_out_of_range_name_the_range() {
    let cases = [
        ("attack.epsilon = 1.5", "attack.epsilon is 1.5, but must be at least 0 and at most 1"),
        ("attack.epsilon = nan", "attack.epsilon is NaN, but must be at least 0 and at most 1"),
        ("evaluate.step_size = inf", "evaluate.step_size is inf, but must be at least 0 and at most 1"),
        ("evaluate.steps = 0", "evaluate.steps is 0, but must be at least 1 and at most 1000000"),
        ("loss.temperature = 0.01", "loss.temperature is 0.01, but must be at least 0.02 and at most 100"),
        ("loss.lambda = 0", "loss.lambda is 0, but must be above 0 and at most 1000000000"),
        ("loss.lambda = -inf", "loss.lambda is -inf, but must be above 0 and at most 1000000000"),
        ("optimizer.momentum = 1.0", "optimizer.momentum is 1, but must be at least 0 and below 1"),
        ("optimizer.learning_rate = -0.1", "optimizer.learning_rate is -0.1, but must be above 0 and at most 1000"),
        ("augment.hue = 0.6", "augment.hue is 0.6; give a number from 0 to 0.5"),
        (
            "augment.crop_scale = [0.5, 0.2]",
            "augment.crop_scale is [0.5, 0.2]; give two numbers above 0 and up to 1, the smaller one first",
        ),
        (
            "augment.crop_scale = [0.0, 1.0]",
            "augment.crop_scale is [0, 1]; give two numbers above 0 and up to 1, the smaller one first",
        ),
        (
            "augment.crop_ratio = [nan, 1.0]",
            "augment.crop_ratio is [NaN, 1]; give two numbers above 0 and up to 100, the smaller one first",
        ),
        ("network.projection = 65537", "network.projection is 65537, but must be at least 1 and at most 65536"),
        ("train.batch_size = 1", "train.batch_size is 1, but must be at least 2 and at most 65536"),
        ("schedule.cosine_epochs = 100", "schedule.cosine_epochs is 100, but must be at least 990 and at most 1000000"),
        (
            "attack.group = 200",
            "attack.group is 200, but must divide train.batch_size (512) into groups of at least 2 images; 0 is the whole batch",
        ),
        ("supervised.beta = -1", "supervised.beta is -1, but must be at least 0 and at most 1000000"),
        (
            "supervised = { freeze_bn = true, attack_mode = 'train' }",
            "supervised.freeze_bn keeps statistics that supervised.attack_mode = \"train\" would move; choose \"eval\"",
        ),
        (
            "train.method = 'trades'\nsupervised.random_start = false",
            "TRADES attacks a divergence whose gradient is zero at the image; set supervised.random_start = true",
        ),
        (
            "schedule = { kind = 'multi_step', milestones = [1000], decay = 0.1 }",
            "schedule.milestones is [1000]; give epochs in ascending order, each below train.epochs (1000)",
        ),
        (
            "linear_eval.milestones = [50, 30]",
            "linear_eval.milestones is [50, 30]; give epochs in ascending order, each below linear_eval.epochs (150)",
        ),
    ];
    cases.iter().for_each(|(lines, expected)| refused(lines, expected));
}

#[test]
fn every_number_refuses_nan_and_infinity() {
    for name in preset_names() {
        let recipe = toml::Table::try_from(Recipe::load(name).unwrap()).unwrap();
        for (section, keys) in recipe.iter().filter_map(|(section, keys)| Some((section, keys.as_table()?))) {
            for (key, value) in keys.iter().filter(|(_, value)| value.is_float()) {
                for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let mut wrong_recipe = recipe.clone();
                    wrong_recipe[section][key] = toml::Value::Float(wrong);
                    let error = Recipe::from_toml(&toml::to_string(&wrong_recipe).unwrap()).unwrap_err().to_string();
                    assert!(error.contains(&format!("{section}.{key} is ")), "{value} to {wrong}: {error}");
                }
            }
        }
    }
}

#[test]
fn values_of_another_type_say_what_is_expected() {
    let cases = [
        ("attack.steps = 'seven'", "attack.steps: invalid type: string \"seven\", expected a whole number from 0 to 4294967295"),
        ("train.seed = -7", "train.seed: invalid value: integer `-7`, expected a whole number from 0"),
        ("attack.loss = 'huber'", "attack.loss: unknown variant `huber`, expected one of `similarity`, `mse`, `l1`, `cosine`"),
        ("optimizer.kind = 'adam'", "optimizer.kind: unknown variant `adam`, expected one of `lars`, `sgd`, `adamw`"),
        ("optimizer.kind = 'sgd'", "optimizer: missing field `learning_rate`; state every key of this kind"),
        ("loss.lambda = 'big'", "loss.lambda: invalid type: string \"big\", expected a number"),
        ("augment.crop_scale = [0.5]", "augment.crop_scale: invalid length 1, expected an array of length 2"),
        ("attack = 3", "attack is a section of a recipe; write [attack] with its keys below"),
        ("[train", "line 3 is not valid TOML (unclosed table, expected `]`); correct it"),
        (
            "evaluate.epsilon = '8/0'",
            "evaluate.epsilon: `8/0` is not a number; write a decimal such as 0.0314 or a fraction such as 8/255",
        ),
    ];
    cases.iter().for_each(|(lines, expected)| refused(lines, expected));
}

#[test]
fn the_head_of_a_file_is_needed() {
    let message = |text: &str| Recipe::from_toml(text).unwrap_err().to_string();
    assert_eq!(message("name = 'x'"), "schema is missing; add the line schema = 1 at the top");
    assert_eq!(message("schema = 1"), "name is missing; add a line such as name = \"mine\" at the top");
    assert_eq!(message("schema = 2\nnew = 1"), "schema 2 is newer than this version of rocl reads (1); update rocl");
    assert_eq!(message("schema = 'one'"), "schema is \"one\"; write schema = 1 at the top");
    assert!(Recipe::from_json("{").unwrap_err().to_string().starts_with("the recipe is not valid JSON"));
}

#[test]
fn unknown_names_list_the_presets() {
    let message = |name: &str| Recipe::load(name).unwrap_err().to_string();
    let presets =
        "resets are reference@1, paper@1 and what else `rocl recipes` lists, and any other recipe is the path of a .toml file";
    assert_eq!(message("papr"), format!("there is no recipe `papr`; did you mean paper@1? P{presets}"));
    assert_eq!(message("paper@2"), format!("there is no recipe `paper@2`; did you mean paper@1? P{presets}"));
    assert_eq!(message("xyzzy"), format!("there is no recipe `xyzzy`; p{presets}"));
    assert!(message("missing.toml").contains("give a TOML file or a preset's name"));
}

#[test]
fn files_are_read_and_named_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine");
    std::fs::write(&path, "schema = 1\nname = 'mine'\ntrain.epochs = 3\n").unwrap();
    assert_eq!(Recipe::load(path.to_str().unwrap()).unwrap().train.epochs, 3);
    std::fs::write(&path, "schema = 1\nname = 'mine'\ntrain.epoch = 3\n").unwrap();
    let message = Recipe::load(path.to_str().unwrap()).unwrap_err().to_string();
    assert_eq!(message, format!("{}: train.epoch is not a recipe key; did you mean train.epochs?", path.display()));
}

#[test]
fn overrides_replace_and_are_checked() {
    let recipe = || Recipe::load("reference").unwrap();
    assert_eq!(recipe().with(&Overrides::default()).unwrap(), recipe());
    let all = Overrides {
        attack_steps: Some(5),
        method: Some(Method::Simclr),
        seed: Some(7),
        width: Some(8),
        epochs: Some(2),
        batch_size: Some(64),
        linear_epochs: Some(40),
        linear_batch_size: Some(32),
        evaluate_batch_size: Some(16),
        epsilon: Some(Number::Fraction(16, 255)),
        step_size: Some(Number::Fraction(1, 255)),
        steps: Some(50),
    };
    let changed = recipe().with(&all).unwrap();
    let expected = [
        "attack.group is 0, not 256",
        "attack.steps is 5, not 7",
        "evaluate.batch_size is 16, not 256",
        "evaluate.epsilon is \"16/255\", not 0.0314",
        "evaluate.step_size is \"1/255\", not 0.00314",
        "evaluate.steps is 50, not 20",
        "linear_eval.batch_size is 32, not 1024",
        "linear_eval.epochs is 40, not 150",
        "linear_eval.milestones is [30], not [30, 50, 100]",
        "network.width is 8, not 64",
        "train.batch_size is 64, not 512",
        "train.epochs is 2, not 1000",
        "train.method is \"simclr\", not \"rocl\"",
        "train.seed is 7, not 0",
    ];
    assert_eq!(changed.differences(&recipe()), expected);
    assert_eq!(changed.projection_hidden(), 256);
    let wrong = Overrides { batch_size: Some(300), ..Overrides::default() };
    assert!(
        recipe().with(&wrong).unwrap_err().to_string().starts_with("attack.group is 256, but must divide train.batch_size (300)")
    );
}
