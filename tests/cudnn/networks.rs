//! Every convolution of the networks has a plan, in every arithmetic, in all directions.

use crate::cudnn;
use crate::skipped::missing;
use crate::table::{Table, rows};
use rocl::device::Arithmetic;
use rocl::device::conv::ConvShape;
use rocl::device::cuda;
use rocl::device::cudnn::{CARDS, Form, Operation, Pattern, Plan, Problem, Role};
use rocl::nn::{Architecture, Topology};

/// The batches of a step with 256 images: the attack's, the regulariser's and the contrastive loss's.
const BATCHES: [usize; 3] = [256, 512, 768];

/// The different convolutions of ResNet-18 and ResNet-50, the stem also with the 8 channels that it has in 16 bits.
fn shapes() -> Vec<ConvShape> {
    let topologies = [Architecture::ResNet18, Architecture::ResNet50].map(|architecture| Topology::new(architecture, 64));
    let mut shapes = Vec::new();
    for (conv, n) in topologies.iter().flat_map(Topology::convs).flat_map(|conv| BATCHES.map(|n| (conv, n))) {
        let shape = conv.shape(n);
        shapes.push(shape);
        shapes.extend((shape.c == 3).then_some(ConvShape { c: 8, ..shape }));
    }
    shapes.sort();
    shapes.dedup();
    shapes
}

/// A plan has what its graph needs, and no more.
fn has_its_operands(plan: &Plan) {
    let Pattern { computes, form } = plan.pattern();
    let mut expected = vec![Role::Image, Role::Filter, Role::Output];
    let optional = match computes {
        Operation::Fprop { bias, residual, .. } => vec![(bias, Role::Bias), (residual, Role::Residual)],
        Operation::Statistics => vec![(true, Role::Sum), (true, Role::SquareSum)],
        Operation::Dgrad { residual, mask } => vec![(residual, Role::Residual), (mask, Role::Mask)],
        Operation::Wgrad { .. } => vec![],
    };
    expected.extend(optional.into_iter().filter(|(asked, _)| *asked).map(|(_, role)| role));
    expected.extend(matches!(form, Form::ZeroBias | Form::TurnedFilter).then_some(Role::Zeros));
    assert!(plan.roles().len() == expected.len() && expected.iter().all(|role| plan.roles().contains(role)), "{plan}");
}

/// Makes and finalises a plan for every convolution of the networks; prints which part of each operation plans compute, and holds the table of
/// `docs/cudnn.md` against it.
#[test]
fn every_convolution_of_the_networks_has_plans() {
    let shapes = shapes();
    assert_eq!(shapes.len(), BATCHES.len() * 30);
    let mut table = Table::default();
    for architecture in CARDS.iter().map(|card| card.architecture) {
        for arithmetic in Arithmetic::ALL {
            let Some(cudnn) = cudnn(architecture) else { return };
            for (row, operation, stride) in rows() {
                for &shape in shapes.iter().filter(|shape| stride.is_none_or(|stride| shape.stride == stride)) {
                    match cudnn.plan(Problem { operation, shape, arithmetic }) {
                        Ok(plan) => {
                            has_its_operands(&plan);
                            table.count(&row, architecture, arithmetic, Some(&plan));
                        }
                        // Only statistics have nothing simpler to fall back on.
                        Err(error) => {
                            assert_eq!(operation, Operation::Statistics, "{error}");
                            assert!(error.to_string().contains("has no engine for"), "{error}");
                            table.count(&row, architecture, arithmetic, None);
                        }
                    }
                }
            }
            println!("{architecture} {}: {} MiB of workspace", arithmetic.name(), cudnn.workspace_bytes() >> 20);
        }
    }
    let text = table.to_string();
    println!("{text}");
    let version = cudnn("sm_90").map_or(0, |cudnn| cudnn.version());
    let same = include_str!("../../docs/cudnn.md").contains(&text);
    if version != 91_900 {
        missing(format!("the table of docs/cudnn.md is of cuDNN 91900, and this is {version}"));
    } else if cuda::is_present() {
        // cuDNN asks the driver what it can do, and there may be more engines, or fewer.
        println!("the table of docs/cudnn.md is {}; it was made without a driver", if same { "the same" } else { "another" });
    } else {
        assert!(same, "the table of docs/cudnn.md is no longer that of cuDNN; replace it by the one above");
    }
}
