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
  EngineOptions engine = {};
};

struct OpenedModel {
  std::vector<Engine> engines;
  ServedFolder served;
  SessionFacts facts;
};

/// Throws Error as the folder's readers do, and for flags that do not fit the model.
OpenedModel open_served(const ServeModelOptions& options);

}  // namespace hypenet
