// A service of a tiny model with a token a byte, on a thread of its own.
#pragma once

#include <chrono>
#include <cmath>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/open.h"
#include "serve/prefix_files.h"
#include "serve/service.h"
#include "tests/serve/http_client.h"
#include "tests/support/model_folder.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {

struct ServiceSetting {
  EngineOptions engine = {.memory_bytes = 64 << 20,
                          .max_sequences = 4,
                          .max_context = 2048,
                          .page_tokens = 64,
                          .prefill_chunk = 64,
                          .grid_min = 32,
                          .cache_bytes = -1,
                          .poisons_freed_memory = true};
  ServeOptions service = {};
  int engines = 1;
  std::filesystem::path cache_folder = {};  // of kept prompts; empty: none
  int64_t cache_disk = int64_t{1} << 30;
};

class RunningService {
 public:
  using Setting = ServiceSetting;

  explicit RunningService(Setting setting = {}) {
    testing_support::write_byte_model(folder_.path());
    std::vector<Engine> engines;
    for (int i = 0; i < setting.engines; ++i) {
      engines.push_back(open_engine(folder_.path(), {}, setting.engine));
      engines.back().longest_sequence();
      if (setting.cache_folder.empty()) continue;
      SessionFacts facts;
      facts.model = "tiny";
      engines.back().use_store(
          std::make_shared<PrefixFiles>(setting.cache_folder / std::to_string(i), facts,
                                        [this](const std::string& line) { log(line); }),
          setting.cache_disk);
    }
    ServedModel model;
    model.name = "tiny";
    model.vocab_size = engines.front().config().vocab_size;
    model.context_length = engines.front().longest_sequence();
    model.reuse = *engines.front().options().reuse;
    ServedFolder served{.model = std::move(model),
                        .tokenizer = Tokenizer::load(folder_.path()),
                        .chat = ChatTemplate::named("chatml")};
    served.stop_ids = served.chat_stop_ids = {256};
    served.grid = {setting.engine.prefill_chunk, setting.engine.grid_min};
    served.longest_token = 16;
    served.fingerprint = "hn-000000000000";
    setting.service.http.port = 0;
    setting.service.session_facts.model = "tiny";
    service_ = std::make_unique<Service>(std::move(served), std::move(engines), setting.service,
                                         [this](const std::string& line) { log(line); });
    thread_ = std::thread([this] { service_->run(); });
  }

  ~RunningService() { stop(); }

  void stop() {
    if (!thread_.joinable()) return;
    service_->stop();
    thread_.join();
  }

  Service& service() { return *service_; }
  int port() const { return service_->port(); }
  std::vector<std::string> log() const {
    const std::scoped_lock lock(mutex_);
    return log_;
  }

  /// A value of /metrics; NaN: none.
  double metric(const std::string& name) const {
    const std::string text = ask(port(), "GET", "/metrics").body;
    const size_t at = text.find("\n" + name + "{");
    if (at == std::string::npos) return std::nan("");
    return std::stod(text.substr(text.find("} ", at) + 2));
  }

  /// Whether a metric comes to be this within five seconds.
  bool comes_to(const std::string& name, double value) const {
    for (int i = 0; i < 500; ++i) {
      if (metric(name) == value) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

 private:
  void log(const std::string& line) {
    const std::scoped_lock lock(mutex_);
    log_.push_back(line);
  }

  TemporaryFolder folder_;
  std::unique_ptr<Service> service_;
  mutable std::mutex mutex_;
  std::vector<std::string> log_;
  std::thread thread_;
};

/// A chat request of one message.
inline Json chat_body(const std::string& text, int64_t tokens) {
  return {{"messages", Json::array({{{"role", "user"}, {"content", text}}})},
          {"max_tokens", tokens},
          {"temperature", 0}};
}

}  // namespace hypenet
