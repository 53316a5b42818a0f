// A server of OpenAI's API without a model: an event of one word a token, and reuse of whatever
// prefix an earlier prompt had.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "serve/http/http.h"
#include "tests/serve/http/served.h"

namespace hypenet {

class FakeApi {
 public:
  FakeApi()
      : served_([this](const auto& request, const auto& exchange) { answer(request, exchange); }) {}

  std::string url() const { return concat("http://127.0.0.1:", served_.port()); }

  /// Bodies of the requests for answers, in order.
  std::vector<Json> bodies() {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }

  /// The next requests for answers are refused (503), cut off or left without [DONE].
  void fail_next(std::vector<std::string> ways) {
    const std::lock_guard lock(mutex_);
    ways_ = std::move(ways);
  }

 private:
  using Exchange = std::shared_ptr<HttpExchange>;

  void answer(const HttpRequest& request, const Exchange& exchange) {
    if (request.path == "/v1/models") {
      return exchange->respond({200, {}, "application/json", R"({"data":[{"id":"fake"}]})"});
    }
    if (request.path == "/tokenize") {
      return exchange->respond({200, {}, "application/json", R"({"tokens":[7,8,9,10,9,8]})"});
    }
    if (request.path == "/metrics") {
      cpu_ += 0.5;
      return exchange->respond(
          {200, {}, "text/plain", concat("# TYPE x\nprocess_cpu_seconds_total ", cpu_, "\n")});
    }
    const bool is_chat = request.path == "/v1/chat/completions";
    if (!is_chat && request.path != "/v1/completions") return exchange->respond({404, {}, "", ""});
    const Json body = parse_json(request.body, "body");
    const std::lock_guard lock(mutex_);
    bodies_.push_back(body);
    std::string way;
    if (!ways_.empty()) {
      way = ways_.front();
      ways_.erase(ways_.begin());
    }
    if (way == "refuse") return exchange->respond({503, {}, "application/json", "full"});
    stream(body, is_chat, way, exchange);
  }

  void stream(const Json& body, bool is_chat, const std::string& way, const Exchange& exchange) {
    const Json& prompt = body.at(is_chat ? "messages" : "prompt");
    const auto tokens = body.at("max_tokens").get<int64_t>();
    exchange->begin({200, {}, "text/event-stream", ""});
    if (is_chat) exchange->write(event({{"delta", {{"role", "assistant"}, {"content", ""}}}}));
    for (int64_t i = 0; i < tokens; ++i) {
      const Json text = concat("w", i, ' ');
      exchange->write(is_chat ? event({{"delta", {{"content", text}}}}) : event({{"text", text}}));
      if (way == "cut") return;  // a dropped exchange cuts the stream off
    }
    const Json usage = {{"prompt_tokens", prompt.size()},
                        {"completion_tokens", tokens},
                        {"prompt_tokens_details", {{"cached_tokens", reused(prompt)}}}};
    exchange->write(
        concat("data: ", Json{{"choices", Json::array()}, {"usage", usage}}.dump(), "\n\n"));
    if (way != "endless") exchange->write("data: [DONE]\n\n");
    exchange->finish();
  }

  static std::string event(const Json& choice) {
    return concat("data: ", Json{{"choices", Json::array({choice})}, {"usage", nullptr}}.dump(),
                  "\n\n");
  }

  int64_t reused(const Json& prompt) {
    int64_t longest = 0;
    for (const Json& earlier : prompts_) {
      size_t same = 0;
      while (same < std::min(prompt.size(), earlier.size()) && prompt[same] == earlier[same])
        ++same;
      longest = std::max(longest, static_cast<int64_t>(same));
    }
    prompts_.push_back(prompt);
    return longest;
  }

  std::mutex mutex_;
  std::vector<Json> bodies_, prompts_;
  std::vector<std::string> ways_;
  double cpu_ = 0;
  Served served_;
};

}  // namespace hypenet
