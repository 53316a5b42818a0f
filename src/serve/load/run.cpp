// One thread sends what is due, reads what comes and notes when.
#include "serve/load/run.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/json_text.h"
#include "serve/load/answer_reader.h"
#include "serve/load/client.h"
#include "serve/load/conversation.h"

namespace hypenet {
namespace {

constexpr double kAskSeconds = 30;
constexpr size_t kMostErrorText = 200;

/// Whether an event shows text of the answer, found without parsing: at a thousand streams that
/// would be most of this thread's work. Quotes within a text are escaped, so no text looks so.
bool shows_text(std::string_view event) {
  for (const std::string_view key :
       {"\"text\":", "\"content\":", "\"reasoning_content\":", "\"arguments\":"}) {
    size_t place = event.find(key);
    if (place == event.npos) continue;
    place = event.find_first_not_of(' ', place + key.size());
    if (place + 1 < event.size() && event[place] == '"' && event[place + 1] != '"') return true;
  }
  return false;
}

/// The text of an event of either endpoint.
std::string text_of(const Json& event) {
  if (!event.contains("choices") || event["choices"].empty()) return "";
  const Json& choice = event["choices"][0];
  if (choice.contains("text")) return choice.value("text", "");
  if (!choice.contains("delta") || !choice["delta"].contains("content")) return "";
  const Json& content = choice["delta"]["content"];
  return content.is_string() ? content.get<std::string>() : "";
}

/// Requests of one phase of the test.
class Driver {
 public:
  Driver(const LoadOptions& options, const ServerAddress& address, const std::string& model,
         const std::vector<int32_t>& ids)
      : options_(options),
        model_(model),
        ids_(ids),
        client_(address, [this](const AnswerPart& part) { take(part); }) {
    if (!options.api_key.empty())
      fields_ = concat("Authorization: Bearer ", options.api_key, "\r\n");
  }

  /// Begins conversation `first + i` at `starts[i]` seconds, or once one of `clients` is free.
  LoadResult run(int64_t first, std::vector<double> starts, int64_t turns, int64_t clients,
                 const std::function<void(LoadProgress)>& watch) {
    turns_ = turns;
    records_.clear();
    begin_ = monotonic_seconds();
    LoadProgress progress;
    for (size_t next = 0; next < starts.size() || client_.under_way() > 0;) {
      const double now = seconds();
      if (is_over()) starts.resize(next);
      while (next < starts.size() && starts[next] <= now &&
             (clients == 0 || client_.under_way() < clients)) {
        start(std::make_unique<Conversation>(options_, ids_, first + static_cast<int64_t>(next++)));
      }
      const bool waits_for_time =
          next < starts.size() && (clients == 0 || client_.under_way() < clients);
      client_.poll(waits_for_time ? starts[next] - seconds() : 1);
      progress.all = is_over() ? std::ssize(records_) : std::ssize(starts) * turns;
      progress.ended = ended_;
      progress.failed = failed_;
      progress.under_way = client_.under_way();
      progress.seconds = seconds();
      watch(progress);
    }
    return {std::move(records_), seconds(), {}};
  }

 private:
  struct Active {
    std::unique_ptr<Conversation> conversation;
    EventReader events;
    std::string text, refusal;
    bool is_done = false;  // [DONE] came
  };

  double seconds() const { return monotonic_seconds() - begin_; }
  bool is_over() const { return options_.seconds > 0 && seconds() >= options_.seconds; }

  void start(std::unique_ptr<Conversation> conversation) {
    const auto number = std::ssize(records_);
    const std::string body = conversation->body(model_);
    records_.emplace_back().sent = seconds();
    Active& active = active_[number];
    active.conversation = std::move(conversation);
    const bool is_chat = options_.endpoint == LoadEndpoint::kChat;
    client_.send(number, is_chat ? "POST /v1/chat/completions" : "POST /v1/completions", fields_,
                 body, options_.timeout);
  }

  void take(const AnswerPart& part) {
    Active& active = active_.at(part.request);
    RequestRecord& record = records_[static_cast<size_t>(part.request)];
    const double now = seconds();
    if (part.status == 200) {
      for (const std::string& event : active.events.push(part.body)) {
        take_event(event, now, active, record);
      }
    } else {
      active.refusal += part.body;
    }
    if (!part.is_last) return;
    record.ended = now;
    end(part, active, record);
    const auto ended = active_.extract(part.request);
    std::unique_ptr<Conversation>& conversation = ended.mapped().conversation;
    if (!record.error.empty() || conversation->turn() + 1 >= turns_ || is_over()) return;
    conversation->go_on(ended.mapped().text, record.answer_tokens);
    start(std::move(conversation));
  }

  void take_event(const std::string& event, double now, Active& active, RequestRecord& record) {
    if (event == "[DONE]") {
      active.is_done = true;
      return;
    }
    if (shows_text(event)) record.events.push_back(now);
    const bool has_usage =
        event.find("\"usage\":{") != event.npos || event.find("\"usage\": {") != event.npos;
    const bool has_error = event.starts_with("{\"error\"");
    if (!has_usage && !has_error && turns_ == 1) return;
    const std::optional<Json> json = try_parse_json(event);
    if (!json || !json->is_object()) return;
    if (has_error) record.error = event.substr(0, kMostErrorText);
    if (turns_ > 1) active.text += text_of(*json);
    if (has_usage) take_usage(json->at("usage"), record);
  }

  static void take_usage(const Json& usage, RequestRecord& record) {
    const auto count = [](const Json& object, const char* key) -> int64_t {
      const bool is_there = object.is_object() && object.contains(key);
      return is_there && object[key].is_number_integer() ? object[key].get<int64_t>() : 0;
    };
    record.prompt_tokens = count(usage, "prompt_tokens");
    record.answer_tokens = count(usage, "completion_tokens");
    const auto details = usage.find("prompt_tokens_details");
    if (details != usage.end()) record.reused_tokens = count(*details, "cached_tokens");
  }

  void end(const AnswerPart& part, const Active& active, RequestRecord& record) {
    ++ended_;
    if (!part.error.empty()) {
      record.error = part.error;
    } else if (part.status != 200) {
      record.error = concat("status ", part.status, ": ", active.refusal.substr(0, kMostErrorText));
    } else if (record.error.empty() && !active.is_done) {
      record.error = "the stream ended without [DONE]";
    }
    if (record.answer_tokens == 0) record.answer_tokens = std::ssize(record.events);
    failed_ += !record.error.empty();
  }

  const LoadOptions& options_;
  const std::string& model_;
  const std::vector<int32_t>& ids_;
  std::string fields_;
  LoadClient client_;
  std::map<int64_t, Active> active_;  // by their record
  std::vector<RequestRecord> records_;
  int64_t turns_ = 1, ended_ = 0, failed_ = 0;
  double begin_ = 0;
};

/// The server's answer to something small, as JSON; null: another status than 200.
Json ask_json(const ServerAddress& address, const LoadOptions& options, std::string_view head,
              const std::string& body) {
  const std::string fields =
      options.api_key.empty() ? "" : concat("Authorization: Bearer ", options.api_key, "\r\n");
  const FetchedAnswer answer = ask(address, head, fields, body, kAskSeconds);
  if (answer.status != 200) return nullptr;
  return try_parse_json(answer.body).value_or(nullptr);
}

std::string first_model(const ServerAddress& address, const LoadOptions& options) {
  const Json answer = ask_json(address, options, "GET /v1/models", "");
  const bool is_list = answer.is_object() && answer.contains("data") && answer["data"].is_array() &&
                       !answer["data"].empty();
  HYPENET_CHECK(is_list && answer["data"][0].contains("id"), options.url,
                ": expected a model in /v1/models, found none; --model names one");
  return answer["data"][0]["id"].get<std::string>();
}

/// Ids of plain words, so that no prompt holds a special token.
std::vector<int32_t> ids_to_draw(const ServerAddress& address, const LoadOptions& options,
                                 const std::string& model) {
  std::vector<int32_t> ids;
  if (options.ids) {
    ids.resize(static_cast<size_t>(options.ids->last - options.ids->first + 1));
    std::iota(ids.begin(), ids.end(), static_cast<int32_t>(options.ids->first));
    return ids;
  }
  const Json body = {{"model", model}, {"prompt", plain_words(0, 0, 0, 1000)}};
  const Json answer = ask_json(address, options, "POST /tokenize", body.dump());
  HYPENET_CHECK(answer.is_object() && answer.contains("tokens") && answer["tokens"].is_array() &&
                    !answer["tokens"].empty(),
                options.url, ": /tokenize gives no ids to make prompts of; --ids FIRST:LAST does");
  const std::string place = options.url + ": /tokenize: tokens";
  std::vector<int64_t> ids_there;
  read_fields(answer["tokens"], place, ids_there);
  std::set<int32_t> distinct;
  for (const int64_t id : ids_there) {
    HYPENET_CHECK(id >= 0 && std::in_range<int32_t>(id), place, ": expected ids of 0 to 2^31 - 1, ",
                  "found ", id);
    distinct.insert(static_cast<int32_t>(id));
  }
  return {distinct.begin(), distinct.end()};
}

/// When conversations begin: as soon as they may, or by a gamma process.
std::vector<double> starts_of(const LoadOptions& options) {
  std::vector<double> starts(static_cast<size_t>(options.conversations));
  if (options.rate == 0) return starts;
  std::mt19937_64 generator(options.seed);
  std::gamma_distribution<double> gap(options.burstiness, 1 / (options.rate * options.burstiness));
  for (size_t i = 1; i < starts.size(); ++i) starts[i] = starts[i - 1] + gap(generator);
  return starts;
}

/// The processor seconds that the server has used, where its metrics say so.
std::optional<double> server_cpu_seconds(const ServerAddress& address, const LoadOptions& options) {
  constexpr std::string_view kName = "\nprocess_cpu_seconds_total ";
  const std::string fields =
      options.api_key.empty() ? "" : concat("Authorization: Bearer ", options.api_key, "\r\n");
  const std::string metrics = '\n' + ask(address, "GET /metrics", fields, "", kAskSeconds).body;
  const size_t place = metrics.find(kName);
  if (place == metrics.npos) return std::nullopt;
  double seconds = 0;
  const char* text = metrics.data() + place + kName.size();
  const auto parsed = std::from_chars(text, metrics.data() + metrics.size(), seconds);
  if (parsed.ec != std::errc()) return std::nullopt;
  return seconds;
}

}  // namespace

LoadResult run_load(const LoadOptions& options,
                    const std::function<void(const LoadProgress&)>& watch) {
  check(options);
  const ServerAddress address = ServerAddress::parse(options.url);
  const std::string model = options.model.empty() ? first_model(address, options) : options.model;
  std::vector<int32_t> ids;
  if (options.endpoint == LoadEndpoint::kCompletions) ids = ids_to_draw(address, options, model);
  Driver driver(options, address, model, ids);
  const auto warm_starts = std::vector<double>(static_cast<size_t>(options.warm_up));
  const int64_t warm_clients = options.clients == 0 ? options.warm_up : options.clients;
  const LoadResult warm =
      driver.run(-options.warm_up - 1, warm_starts, 1, warm_clients, [&](LoadProgress progress) {
        progress.is_warm_up = true;
        watch(progress);
      });
  for (const RequestRecord& record : warm.records) {
    HYPENET_CHECK(record.error.empty(), options.url,
                  ": a request of the warm-up failed: ", record.error);
  }
  const auto cpu_before = server_cpu_seconds(address, options);
  Driver measured(options, address, model, ids);
  LoadResult result = measured.run(0, starts_of(options), options.turns, options.clients, watch);
  const auto cpu_after = server_cpu_seconds(address, options);
  if (cpu_before && cpu_after) result.server_cpu_seconds = *cpu_after - *cpu_before;
  return result;
}

}  // namespace hypenet
