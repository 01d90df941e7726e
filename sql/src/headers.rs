//! What goes beside questions and answers, in the headers of gRPC calls.

/// Where in the query an error is: `line:column`, both from 1. Beside an error.
pub const PLACE: &str = "parallax-query-place";

/// `true`: what nodes that fail would have answered is left out, and they are named in the coverage. Without it the
/// query fails. Beside a question.
pub const PARTIAL: &str = "parallax-partial";

/// The question that this one is a part of: parts of one question take one place among the queries that run. Beside a
/// question.
pub const PART_OF: &str = "parallax-part-of";
