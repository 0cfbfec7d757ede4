//! Recipes and boards. One program: each one more would be linked with everything that it needs.

mod validator;

mod agree;
mod diagnostics;
mod hostile;
mod merging;
mod schema;
mod shipped;
mod starting;
mod variables;
