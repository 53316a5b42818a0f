// The server: routes of HTTP to what is served (docs/serving.md).
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "serve/access.h"
#include "serve/answers_under_way.h"
#include "serve/http/http.h"
#include "serve/served_folder.h"
#include "serve/sessions.h"

namespace hypenet {

struct ServeOptions {
  HttpOptions http = {};
  AccessRules access = {};
  std::filesystem::path key_file = {};  // access.keys, read anew by Service::reload_keys
  AnswerLimits limits = {};
  double drain_seconds = 30;
  bool salts_by_key = false;  // prefixes are shared under one key only
  bool allows_cache_clear = false;
  bool logs_json = false;
  std::string metrics_prefix = "hypenet_";
  std::filesystem::path session_folder = {};  // empty: no sessions
  SessionFacts session_facts = {};
  Json facts = Json::object();  // of /v1/status: what the start printed
};

/// Serves one model by one or several engines of it.
class Service {
 public:
  /// Listens from here on. Throws Error as HttpServer does. `log` gets a line a request, without
  /// its line feed; it is called on the I/O thread.
  Service(ServedFolder served, std::vector<Engine> engines, ServeOptions options,
          std::function<void(const std::string&)> log);
  ~Service();

  int port() const;

  /// Serves until `stop` and the end of what ran then; the calling thread is the I/O thread.
  void run();

  /// New requests are refused; running ones get drain_seconds. Any thread.
  void stop();

  /// Any thread. A file that cannot be read is logged, and the old keys stay.
  void reload_keys();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hypenet
