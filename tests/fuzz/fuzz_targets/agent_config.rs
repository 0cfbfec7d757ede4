//! The agent's configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(config) = fruit_contract::agent::config::AgentConfig::from_yaml(text, "agent.yaml") {
        assert!(fruit_contract::agent::config::AgentConfig::from_yaml(&config.to_yaml(), "agent.yaml").is_ok());
    }
});
