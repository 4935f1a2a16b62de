//! Engines: the kernels that cuDNN has for a graph, with the knobs that each can be set by.

use super::descriptor::{Attribute, BehaviorNote, Descriptor, Draft, HeuristicMode, Kind, KnobType, NumericalNote, Part};
use super::graph::Graph;
use super::library::{Library, Refusal};
use super::target::Target;
use Attribute::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;

/// More than there are kinds of knobs (44), or of notes (10).
const ROOM: usize = 128;

/// An engine and its settings, by the library's numbers: to be made again with the same version of the library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineChoice {
    /// The engine's number among those for the graph.
    pub engine: i64,
    /// Values of its knobs; those that are absent have their default.
    pub knobs: BTreeMap<i32, i64>,
}

/// What is asked for engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heuristics {
    /// Fast, and good on the whole.
    A,
    /// Slower, and more general.
    B,
    /// What works, not what is fast.
    Fallback,
}

/// An engine that heuristics have configured.
pub(super) struct EngineConfig {
    pub descriptor: Rc<Descriptor>,
    pub choice: EngineChoice,
    pub numerical_notes: Vec<NumericalNote>,
    pub behavior_notes: Vec<BehaviorNote>,
}

/// What the library proposes for `graph`, best first; each may be one that it does not describe.
pub(super) fn proposals(
    library: &'static Library,
    target: &Target,
    graph: &Graph,
    heuristics: Heuristics,
) -> Result<Vec<Result<EngineConfig, Refusal>>, Refusal> {
    let mode = match heuristics {
        Heuristics::A => HeuristicMode::CUDNN_HEUR_MODE_A,
        Heuristics::B => HeuristicMode::CUDNN_HEUR_MODE_B,
        Heuristics::Fallback => HeuristicMode::CUDNN_HEUR_MODE_FALLBACK,
    };
    let draft = Draft::new(library, Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, &[mode])?
        .set_parts(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, std::slice::from_ref(&graph.descriptor))?;
    let draft = target.set_on(draft, None, Some(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP))?;
    let heuristics = draft.finish("heuristics")?;
    let count = heuristics.count::<Part>(CUDNN_ATTR_ENGINEHEUR_RESULTS)?;
    let configs = heuristics.get_parts(CUDNN_ATTR_ENGINEHEUR_RESULTS, Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, count)?;
    Ok(configs.into_iter().map(EngineConfig::read).collect())
}

/// The engine that was chosen before.
pub(super) fn chosen(
    library: &'static Library,
    target: &Target,
    graph: &Graph,
    choice: &EngineChoice,
) -> Result<EngineConfig, Refusal> {
    let draft = Draft::new(library, Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR)?
        .set_parts(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, std::slice::from_ref(&graph.descriptor))?
        .set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, &[choice.engine])?;
    let engine = target.set_on(draft, None, Some(CUDNN_ATTR_ENGINE_DEVICEPROP))?.finish("an engine")?;
    let knob = |(&kind, &value): (&i32, &i64)| {
        let draft = Draft::new(library, Kind::CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR)?
            .set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, &[KnobType(kind)])?
            .set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, &[value])?;
        draft.finish("a knob")
    };
    let knobs = choice.knobs.iter().map(knob).collect::<Result<Vec<_>, _>>()?;
    let mut draft =
        Draft::new(library, Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)?.set_parts(CUDNN_ATTR_ENGINECFG_ENGINE, &[engine])?;
    if !knobs.is_empty() {
        draft = draft.set_parts(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, &knobs)?;
    }
    EngineConfig::read(draft.finish("an engine's configuration")?)
}

impl EngineConfig {
    fn read(descriptor: Rc<Descriptor>) -> Result<Self, Refusal> {
        let engines = descriptor.get_parts(CUDNN_ATTR_ENGINECFG_ENGINE, Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1)?;
        let (mut engine, mut numerical_notes, mut behavior_notes) = (-1, Vec::new(), Vec::new());
        for part in engines {
            engine = part.get::<i64>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 1)?.first().copied().unwrap_or(engine);
            numerical_notes = part.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, ROOM)?;
            behavior_notes = part.get(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, ROOM)?;
        }
        let mut knobs = BTreeMap::new();
        let kind = Kind::CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR;
        for knob in descriptor.get_parts(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, kind, ROOM)? {
            let kinds = knob.get::<KnobType>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, 1)?;
            let values = knob.get::<i64>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, 1)?;
            knobs.extend(kinds.into_iter().map(|kind| kind.0).zip(values));
        }
        Ok(Self { descriptor, choice: EngineChoice { engine, knobs }, numerical_notes, behavior_notes })
    }
}
