//! Values against a JSON schema, by a program that others wrote.

use serde_json::Value;

/// A schema that is one by its own meta-schema, ready to check with.
pub struct Validator(boon::Schemas, boon::SchemaIndex);

impl Validator {
    pub fn new(schema: &Value) -> Validator {
        let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
        compiler.add_resource("fruit.json", schema.clone()).unwrap();
        let index = compiler.compile("fruit.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Validator(schemas, index)
    }

    pub fn validate(&self, value: &Value) -> Result<(), String> {
        self.0.validate(value, self.1).map_err(|error| format!("{error:#}"))
    }
}
