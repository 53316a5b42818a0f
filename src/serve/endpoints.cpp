// The endpoints that do not answer with text that is being generated, and how the others begin.
#include <algorithm>

#include "base/version.h"
#include "serve/api/anthropic_form.h"
#include "serve/api/text_forms.h"
#include "serve/page/page.h"
#include "serve/service_impl.h"
#include "serve/status.h"

namespace hypenet {
namespace {

HttpHeader ignored_header(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ",") + name;
  return {"x-ignored-params", list};
}

}  // namespace

void Service::Impl::show_page(const CallPtr& call) {
  respond(call, {.headers = {{"Content-Security-Policy", std::string(page_policy())},
                             {"Cache-Control", "no-cache"},
                             {"X-Content-Type-Options", "nosniff"},
                             {"Referrer-Policy", "no-referrer"}},
                 .content_type = "text/html; charset=utf-8",
                 .body = std::string(page())});
}

void Service::Impl::show_health(const CallPtr& call) {
  const bool runs = std::ranges::any_of(engines_, [](const auto& e) { return !e->failure(); });
  const char* const status = stopping_ ? "stopping" : runs ? "ok" : "failed";
  respond(call, {.status = stopping_ || !runs ? 503 : 200,
                 .body = answer_body(Json{{"status", status}})});
}

void Service::Impl::show_models(const CallPtr& call) { answer(call, models_answer(served_.model)); }

void Service::Impl::show_model(const CallPtr& call) {
  answer(call, model_answer(served_.model, call->rest));
}

void Service::Impl::show_metrics(const CallPtr& call) {
  std::vector<const EngineThread*> engines;
  for (const auto& engine : engines_) engines.push_back(engine.get());
  set_engine_metrics(metrics_, engines);
  metrics_.set("connections_open", static_cast<double>(server_.connections()));
  respond(call, {.content_type = "text/plain; version=0.0.4; charset=utf-8",
                 .body = metrics_.text() + process_metrics()});
}

void Service::Impl::show_status(const CallPtr& call) {
  Json engines = Json::array();
  EngineStats sum;
  for (const auto& engine : engines_) {
    const EngineStats stats = engine->stats();
    add_stats(sum, stats);
    engines.push_back(engine_json(stats, engine->failure()));
  }
  Json recent = Json::array();
  for (const RequestFigures& figures : recent_) recent.push_back(to_json(figures));
  Json defaults = Json::object();
  SamplingOptions::visit([&](const char* key, auto member, const auto&...) {
    defaults[key] = served_.model.defaults.*member;
  });
  answer(call, {{"model", served_.model.name},
                {"version", version()},
                {"fingerprint", served_.fingerprint},
                {"defaults", std::move(defaults)},
                {"sessions", sessions_.is_enabled()},
                {"reuse",
                 {{"mode", to_string(served_.model.reuse)},
                  {"chunk", served_.grid.chunk},
                  {"least", served_.grid.least}}},
                {"running", answers_.list(true)},
                {"waiting", answers_.list(false)},
                {"memory", memory_json(sum)},
                {"engines", std::move(engines)},
                {"recent", std::move(recent)},
                {"facts", options_.facts}});
}

void Service::Impl::start_answer(const CallPtr& call, Prepare prepare) {
  if (stopping_) {
    ApiError error("stopping", "the server is stopping");
    error.retry_after = 30;
    throw error;
  }
  on_pool(call, [this, call, prepare = std::move(prepare), seed = random_.next()] {
    Random random(seed);
    auto answer = std::make_shared<PreparedAnswer>(prepare(model_for(*call), random));
    return [this, call, answer] { begin_answer(call, std::move(*answer)); };
  });
}

void Service::Impl::begin_answer(const CallPtr& call, PreparedAnswer answer) {
  if (answer.left_out_blocks > 0) {
    metrics_.count("ignored_billing_blocks_total", {}, static_cast<double>(answer.left_out_blocks));
  }
  Asker asker{.exchange = call->exchange, .headers = call->headers, .arrived = call->arrived};
  if (!answer.ignored.empty()) {
    asker.headers.push_back(ignored_header(answer.ignored));
    for (const std::string& name : answer.ignored) note("ignored parameter: " + name);
  }
  asker.figures = {
      .key_name = call->key_name, .route = call->route, .client = call->request.client};
  answers_.start(std::move(answer), std::move(asker));
}

void Service::Impl::complete_chat(const CallPtr& call) {
  start_answer(call, [this, call](const ServedModel& model, Random& random) {
    return prepare_chat(served_, model, parse_chat_request(parse_body(call->request.body), model),
                        AnswerForm::kChat, random);
  });
}

void Service::Impl::complete_messages(const CallPtr& call) {
  start_answer(call, [this, call](const ServedModel& model, Random& random) {
    return prepare_chat(served_, model,
                        parse_anthropic_request(parse_body(call->request.body), model),
                        AnswerForm::kAnthropic, random);
  });
}

void Service::Impl::complete_text(const CallPtr& call) {
  start_answer(call, [this, call](const ServedModel& model, Random& random) {
    return prepare_completion(served_, model, call->request.body, random);
  });
}

void Service::Impl::count_tokens(const CallPtr& call) {
  on_pool(call, [this, call] {
    const ChatRequest chat =
        parse_anthropic_request(parse_body(call->request.body), served_.model, false);
    const auto tokens = static_cast<int64_t>(encode_prompt(served_, chat).ids.size());
    return [this, call, tokens] { answer(call, count_tokens_answer(tokens)); };
  });
}

void Service::Impl::apply_template(const CallPtr& call) {
  on_pool(call, [this, call] {
    const ChatRequest chat = parse_chat_request(parse_body(call->request.body), served_.model);
    const EncodedPrompt prompt = encode_prompt(served_, chat);
    Json json = apply_template_answer(prompt.text, static_cast<int64_t>(prompt.ids.size()));
    return [this, call, json = std::move(json)] { answer(call, json); };
  });
}

void Service::Impl::tokenize(const CallPtr& call) {
  on_pool(call, [this, call] {
    const auto request = parse_tokenize_request(parse_body(call->request.body), served_.model);
    std::vector<int32_t> ids;
    if (const auto* text = std::get_if<std::string>(&request.input)) {
      const auto bos = served_.tokenizer.bos_id();
      if (request.adds_special_tokens && bos) ids.push_back(*bos);
      const auto encoded = served_.tokenizer.encode(*text);
      ids.insert(ids.end(), encoded.begin(), encoded.end());
    } else {
      ids = encode_prompt(served_, std::get<ChatRequest>(request.input)).ids;
    }
    std::optional<std::vector<std::string>> texts;
    if (request.returns_token_texts) {
      texts.emplace();
      for (const int32_t id : ids) texts->emplace_back(served_.tokenizer.token_bytes(id));
    }
    Json json = tokenize_answer(ids, texts, served_.model);
    return [this, call, json = std::move(json)] { answer(call, json); };
  });
}

void Service::Impl::detokenize(const CallPtr& call) {
  on_pool(call, [this, call] {
    const auto ids = parse_detokenize_request(parse_body(call->request.body), served_.model);
    Json json = detokenize_answer(served_.tokenizer.decode(ids));
    return [this, call, json = std::move(json)] { answer(call, json); };
  });
}

void Service::Impl::clear_cache(const CallPtr& call) {
  if (!options_.allows_cache_clear) {
    throw ApiError("cache_clear_not_allowed", "expected --allow-cache-clear, found none");
  }
  auto left = std::make_shared<std::atomic<size_t>>(engines_.size());
  for (const auto& engine : engines_) {
    engine->call([this, call, left](Engine& runs) {
      runs.clear_cache();
      if (--*left > 0) return;
      server_.post([this, call] { answer(call, Json{{"status", "cleared"}}); });
    });
  }
}

}  // namespace hypenet
