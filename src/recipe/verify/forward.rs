//! The model in inference form, and the contrastive loss on given embeddings.

use super::recording::reals;
use super::row::{Class, Row};
use super::{Session, widened};
use crate::element::Element;
use crate::{Result, Tensor};

pub(super) fn rows<T: Element>(session: &Session<T>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for view in ["x1", "x2"] {
        rows.extend(embeddings(session, view)?);
    }
    for views in [2, 3] {
        rows.extend(contrastive(session, views)?);
    }
    Ok(rows)
}

fn embeddings<T: Element>(session: &Session<T>, view: &str) -> Result<Vec<Row>> {
    let images = session.recording.images::<T::Real>(session.device, &format!("in/{view}"), session.batch())?;
    let encoder = session.model.encoder();
    let features = encoder.forward(&images)?;
    let mut rows = Vec::new();
    let mut found: Vec<(String, Vec<f64>)> = Vec::new();
    for (index, activation) in encoder.layer_outputs(session.batch())?.into_iter().enumerate() {
        found.push((format!("internal{index}"), widened(&activation)?));
    }
    found.push(("feat".to_owned(), widened(&features)?));
    found.push(("proj".to_owned(), widened(&session.model.projector().forward(&features)?)?));
    found.push(("logits".to_owned(), widened(&session.head.forward(&features)?)?));
    for (what, values) in found {
        rows.extend(session.row(&format!("eval/{view}/{what}"), Class::Forward, &values)?);
    }
    Ok(rows)
}

/// Loss and gradient with keys detached, at the recorded embeddings.
fn contrastive<T: Element>(session: &Session<T>, views: usize) -> Result<Vec<Row>> {
    let name = |what: &str| format!("nt/{views}view/{what}");
    if !session.recording.has(&name("z")) {
        return Ok(Vec::new());
    }
    let (rows, width) = (views * session.batch(), session.recipe.embedding());
    let recorded = session.recording.expect(&name("z"), &[rows, width])?;
    let z = Tensor::<T::Real>::from_slice(session.device, [rows, width], &reals(&recorded.values))?;
    let (d_z, loss) = (Tensor::zeros(session.device, z.shape())?, Tensor::zeros(session.device, [1])?);
    let function = if views == 2 { &session.losses.regularizer } else { &session.losses.loss };
    function.evaluate(&z, views, 1.0, &d_z, z.rows_len(), &loss)?;
    let mut rows = Vec::new();
    for (what, found) in [("loss", &loss), ("grad_z", &d_z)] {
        rows.extend(session.row(&name(what), Class::Exact, &widened(found)?)?);
    }
    Ok(rows)
}
