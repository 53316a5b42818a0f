// hypenet export --transformers: a model folder that transformers loads, with a card for the hub.
#pragma once

#include <filesystem>

namespace hypenet {

/// Writes `folder` from the model folder or GGUF file `model`: the weights as they are stored,
/// config.json, tokenizer files, README.md (cli/transformers/model_card.h), run.json, and for a
/// HypeNet modeling_hypenet.py, which config.json names. Throws Error before any work for a folder
/// that is there and no earlier one of this kind, and, in one line with its name, for a mixer that
/// modeling_hypenet.py lacks and an architecture that is only read.
void write_transformers_folder(const std::filesystem::path& model,
                               const std::filesystem::path& folder);

}  // namespace hypenet
