// README.md of a folder for transformers: a model card with the front matter that the hub reads.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/json.h"
#include "halo/results.h"
#include "model/config.h"

namespace hypenet {

/// What is known of how a model was made and how good it is; null and nullopt where nobody says.
struct ModelCard {
  Json run = nullptr;                            // its run.json
  Json recipe = nullptr;                         // that of recipe.json around it
  std::optional<ConversionRecord> results = {};  // results.json of that conversion
};

/// Reads these files beside the weights of a model folder, and around it where it is the `model` of
/// a conversion. One that cannot be read is left out with a note.
ModelCard read_model_card(const std::filesystem::path& model);

/// The card, Markdown: what the model is, how to run it, how it was made, results. `name` is what
/// the model is called in it. Paths of this machine do not appear.
std::string write_model_card(const ModelCard& card, const ModelConfig& config,
                             const std::string& name);

}  // namespace hypenet
