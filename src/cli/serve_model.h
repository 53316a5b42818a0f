// Opening a model folder for `hypenet serve`: an engine a device, and what requests need beside.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/model_folder.h"
#include "engine/engine.h"
#include "serve/served_folder.h"
#include "serve/sessions.h"

namespace hypenet {

struct ServeModelOptions {
  ModelOptions model{.folder = {}, .type = kAutomaticType, .device = {}};
  std::vector<std::string> devices = {};  // empty: model.device
  std::string name = {};                  // empty: the folder's
  std::string template_name = {};         // empty: the folder's own
  std::string tool_format = {};           // empty: by the template
  bool specials_in_messages = false;
  bool sums_weights = true;  // for facts.model, which files of sessions and kept prompts need
  EngineOptions engine = {};
};

struct OpenedModel {
  std::vector<Engine> engines;
  ServedFolder served;
  SessionFacts facts;  // of which `model` is empty without sums_weights
};

/// What files of sessions are told apart by, but for `model`, which is weights_fingerprint: of
/// every byte of the tensors.
SessionFacts session_facts(const Engine& engine, const Tokenizer& tokenizer);
std::string weights_fingerprint(const Checkpoint& checkpoint, const ModelConfig& config);

/// Throws Error as the folder's readers do, and for flags that do not fit the model.
OpenedModel open_served(const ServeModelOptions& options);

}  // namespace hypenet
