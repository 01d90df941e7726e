//! The kernel's names of drop reasons. The API's filter has only names of its own, so a CEL expression over the name in
//! the flow takes its place.

use super::keys::known;
use super::terms::Term;
use super::{LineError, check};
use crate::observe::filter_values as values;
use crate::usage::nearest;

const REASON: &str = "drop-reason-desc";
const CEL: &str = "cel-expression";

/// Puts CEL in the place of reasons, on the side (shown or hidden) where the kernel's names are among them.
pub(super) fn with_kernel_names(terms: Vec<Term>) -> Result<Vec<Term>, LineError> {
    let mut terms = terms;
    for negated in [false, true] {
        let here = |term: &&Term| term.negated == negated && term.flag.name == REASON;
        let reasons: Vec<&Term> = terms.iter().filter(here).collect();
        if reasons.iter().all(|term| values::drop_reason(&term.value).is_ok()) {
            continue;
        }
        let first = reasons[0].clone();
        let any = reasons
            .iter()
            .map(|term| condition(term))
            .collect::<Result<Vec<_>, _>>()?
            .join(" || ");
        // Several CEL expressions are joined by OR, as values of one flag are; with the reasons it is AND.
        let mut own = Vec::new();
        for term in &terms {
            if term.negated == negated && term.flag.name == CEL {
                // Alone: what is wrong with it may not show between the others.
                check(term)?;
                own.push(format!("({})", term.value));
            }
        }
        let value = match own.is_empty() {
            true => any,
            false => format!("({}) && ({any})", own.join(" || ")),
        };
        terms.retain(|term| term.negated != negated || (term.flag.name != REASON && term.flag.name != CEL));
        terms.push(Term {
            flag: known(CEL),
            value,
            ..first
        });
    }
    Ok(terms)
}

/// The CEL expression for one reason.
fn condition(term: &Term) -> Result<String, LineError> {
    if let Ok(number) = values::drop_reason(&term.value) {
        return Ok(format!("_flow.drop_reason_desc == {number}"));
    }
    let name = term.value.to_ascii_uppercase();
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    // In quotes it may be one of a newer kernel.
    if is_name && (term.quoted || flow::drop_reason::lookup(&name).is_some()) {
        return Ok(format!("_flow.detail.kernel_drop_reason == \"{name}\""));
    }
    let names = flow::drop_reason::all().map(|reason| reason.name);
    let near = nearest(&name, names.chain(values::drop_reason_names()));
    let hint = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    Err(LineError {
        range: term.range.clone(),
        message: format!(
            "unknown drop reason: {hint}give a name such as NO_SOCKET; in quotes, any name of a newer kernel"
        ),
    })
}
