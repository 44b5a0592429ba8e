//! What changes records, made ready from the configuration: the modules' files are read, once, when a mirror starts.

use crate::config::Mirror;
use crate::limits::HANDLER_MODULE_BYTES_MAX;
use crate::records::Recipe;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

/// A recipe for each of [`Mirror::transforms`].
pub(super) struct Recipes(Vec<Arc<Recipe>>);

impl Recipes {
    /// The error names the transform's topics, and what is wrong with it.
    pub(super) fn load(config: &Mirror) -> Result<Self, String> {
        let recipes = config.transforms.iter().map(|transform| {
            let names = transform.names();
            let recipe = Recipe::new(transform, &read_module);
            let recipe = recipe.map_err(|why| format!("[[transform]] of {names}: {why}"))?;
            tracing::info!(topics = names, "records are changed on their way: {}", transform.describe());
            Ok(Arc::new(recipe))
        });
        recipes.collect::<Result<_, _>>().map(Self)
    }

    /// Of the first transform that matches the topic.
    pub(super) fn of(&self, config: &Mirror, topic: &str) -> Option<Arc<Recipe>> {
        config.transform_at(topic).and_then(|at| self.0.get(at)).cloned()
    }
}

fn read_module(path: &str) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {path}: {error}");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    // One byte more, so that what is too long is seen to be.
    file.take(HANDLER_MODULE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(bytes)
}
