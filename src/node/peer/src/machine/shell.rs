//! Who may use a shell on this node.

use fruit_record::{KeyId, Role};

use super::Machine;
use crate::pass::Pass;

impl Machine {
    /// Whether a machine with this pass belongs to an operator who may use a shell here: with the role `run`, in whose scope this
    /// node is.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn may_run(&self, machine: KeyId, pass: &[u8]) -> Result<(), String> {
        let member = self.replica.as_ref().and_then(|replica| Some((replica, replica.member(&self.me)?)));
        let (replica, member) = member.ok_or("the node is no member of the fleet")?;
        let trust = replica.trust();
        let (name, roles) = Pass::verify(pass, trust, machine, self.wall).map_err(|why| why.to_string())?;
        if !roles.have(Role::Run) {
            return Err(format!("{name} does not have the role `run`"));
        }
        let operator = trust.charter().operators.iter().find(|operator| operator.name == name);
        match operator {
            Some(operator) if operator.scope.means(&member.labels.of_node(&self.me)) => Ok(()),
            _ => Err(format!("the node is outside the scope of {name}")),
        }
    }

    /// What this machine shows as an operator's.
    #[must_use]
    pub fn pass(&self) -> Option<&[u8]> {
        self.pass.as_deref()
    }
}
