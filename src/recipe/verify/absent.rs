//! What a recording could hold and does not.

use super::row::Row;

/// The names of rows that a complete recording has, by group. `pgd20/grad` is not among them: the recorder leaves it out.
const GROUPS: [(&str, &[&str]); 9] = [
    ("eval/x1", &["feat", "proj", "logits", "internal0", "internal1", "internal2", "internal3", "internal4"]),
    ("eval/x2", &["feat", "proj", "logits"]),
    ("nt/2view", &["loss", "grad_z"]),
    ("nt/3view", &["loss", "grad_z"]),
    ("attack", &["loss", "grad", "x_traj"]),
    ("pgd20", &["loss", "grad0", "x_traj", "x_final", "logits_adv"]),
    ("pgd20rs", &["x0", "loss", "x_final"]),
    ("step1", &["bn_after_adv", "bn_after", "grad", "momentum", "adaptive_lr", "update", "adv_loss", "simloss", "loss"]),
    ("step2", &["bn_after_adv", "bn_after", "adaptive_lr", "update", "adv_loss", "simloss", "loss"]),
];

/// The quantities that no row compares, since the recording lacks them: names of rows, or `group/*` for all of a group.
pub fn absent(rows: &[Row]) -> Vec<String> {
    let lacking = |(group, quantities): &(&str, &[&str])| {
        let names: Vec<String> = quantities.iter().map(|quantity| format!("{group}/{quantity}")).collect();
        let missing: Vec<String> = names.iter().filter(|name| !rows.iter().any(|row| row.name == **name)).cloned().collect();
        if missing.len() == names.len() { vec![format!("{group}/*")] } else { missing }
    };
    GROUPS.iter().flat_map(lacking).collect()
}
