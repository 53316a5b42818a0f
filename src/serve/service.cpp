// Everything here runs on the I/O thread, but for what is handed to the pool: parsing, templates,
// tokenizing and grammars, which may take long and must not stop the streams.
#include "serve/service.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/seconds.h"
#include "serve/error_response.h"
#include "serve/service_impl.h"
#include "serve/status.h"

namespace hypenet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPoolThreads = 3;
constexpr double kSweepSeconds = 0.25;
constexpr size_t kRecentRequests = 100;

uint64_t seed_of_system() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

/// The client's own id where it is a plain one, else a new one.
std::string request_id(const HttpRequest& request, Random& random) {
  const std::string_view given = request.header("x-request-id");
  const bool is_plain = !given.empty() && given.size() <= 128 &&
                        std::ranges::all_of(given, [](char c) { return c > 0x20 && c < 0x7F; });
  if (is_plain) return std::string(given);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id = "req-";
  for (int i = 0; i < 24; ++i) id += kDigits[static_cast<size_t>(random.below(16))];
  return id;
}

}  // namespace

std::string answer_body(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::span<const Service::Impl::Route> Service::Impl::routes() {
  static constexpr Route kRoutes[] = {
      {"GET", "/", &Impl::show_page, true},
      {"GET", "/health", &Impl::show_health, true},
      {"GET", "/metrics", &Impl::show_metrics},
      {"GET", "/v1/models", &Impl::show_models},
      {"GET", "/v1/models/", &Impl::show_model},
      {"GET", "/v1/status", &Impl::show_status},
      {"POST", "/v1/chat/completions", &Impl::complete_chat},
      {"POST", "/v1/completions", &Impl::complete_text},
      {"POST", "/v1/messages", &Impl::complete_messages},
      {"POST", "/v1/messages/count_tokens", &Impl::count_tokens},
      {"POST", "/tokenize", &Impl::tokenize},
      {"POST", "/detokenize", &Impl::detokenize},
      {"POST", "/apply-template", &Impl::apply_template},
      {"POST", "/v1/cache/clear", &Impl::clear_cache},
      {"GET", "/v1/sessions", &Impl::list_sessions},
      {"GET", "/v1/sessions/", &Impl::show_session},
      {"POST", "/v1/sessions/", &Impl::change_session},
      {"DELETE", "/v1/sessions/", &Impl::remove_session},
  };
  return kRoutes;
}

Service::Impl::Impl(ServedFolder served, std::vector<Engine> engines, ServeOptions options,
                    std::function<void(const std::string&)> log)
    : served_(std::move(served)),
      options_(std::move(options)),
      log_(std::move(log)),
      metrics_(options_.metrics_prefix, served_.model.name),
      answers_(served_, options_.limits, metrics_,
               [this](const RequestFigures& figures) { take_end(figures); }),
      server_(
          [this] {
            HttpOptions http = options_.http;
            http.error_answer = [](int status, std::string_view code, std::string_view message) {
              const ApiError error(ErrorCode::of(code), std::string(message));
              return HttpResponse{.status = status, .body = answer_body(openai_error(error))};
            };
            return http;
          }(),
          [this](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
            handle(std::move(request), std::move(exchange));
          }),
      sessions_(options_.session_folder, options_.session_facts),
      random_(seed_of_system()),
      pool_(kPoolThreads) {
  served_.grammars = std::make_shared<GrammarCompiler>(served_.tokenizer, served_.model.vocab_size);
  options_.access.host = options_.http.host;
  if (!options_.key_file.empty()) options_.access.keys = ApiKeys::read(options_.key_file);
  std::vector<EngineThread*> pointers;
  std::vector<std::vector<StoredPrompt>> stored;
  for (size_t i = 0; i < engines.size(); ++i) {
    if (engines.size() > 1) stored.push_back(engines[i].stored_prompts());
    engines_.push_back(std::make_unique<EngineThread>(
        std::move(engines[i]),
        [this, i](std::vector<EngineNews> news, std::optional<StepFigures> step) {
          server_.post([this, i, step, news = std::move(news)]() mutable {
            if (step) count_step(metrics_, *step);
            answers_.take(i, std::move(news));
          });
        }));
    pointers.push_back(engines_.back().get());
  }
  answers_.use(pointers, [this](std::function<void()> work) { server_.post(std::move(work)); });
  for (size_t i = 0; i < stored.size(); ++i) {
    for (const StoredPrompt& prompt : stored[i]) answers_.learn(i, prompt.tokens, prompt.salt);
  }
  set_build_info(metrics_, served_);
  server_.call_after(kSweepSeconds, [this] { sweep(); });
}

Service::Impl::~Impl() = default;

void Service::Impl::handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  const auto call = std::make_shared<Call>(Call{
      .request = std::move(request), .exchange = std::move(exchange), .arrived = Clock::now()});
  call->id = request_id(call->request, random_);
  call->route = "other";
  call->headers = cors_headers(options_.access, call->request);
  call->headers.push_back({"x-request-id", call->id});
  guarded(call, [&] {
    check_browser(options_.access, call->request);
    dispatch(call);
  });
}

void Service::Impl::dispatch(const CallPtr& call) {
  const std::string& path = call->request.path;
  if (call->request.method == "OPTIONS") {
    call->route = "OPTIONS";
    return respond(call, preflight_answer(options_.access, call->request));
  }
  const std::string_view method =
      call->request.method == "HEAD" ? "GET" : std::string_view(call->request.method);
  std::string allowed;
  for (const Route& route : routes()) {
    const bool is_beginning = route.path.size() > 1 && route.path.ends_with('/');
    const bool fits = is_beginning ? path.starts_with(route.path) && path.size() > route.path.size()
                                   : path == route.path;
    if (!fits) continue;
    if (route.method != method) {
      allowed +=
          concat(allowed.empty() ? "" : ", ", route.method, route.method == "GET" ? ", HEAD" : "");
      continue;
    }
    call->route = route.path;
    if (is_beginning) call->rest = path.substr(route.path.size());
    if (!route.is_open) call->key_name = key_name(options_.access, call->request);
    return (this->*route.handler)(call);
  }
  if (allowed.empty()) {
    throw ApiError("unknown_url", concat("expected a path of docs/serving-api.md, found ",
                                         call->request.method, " ", path));
  }
  call->headers.push_back({"Allow", allowed});
  throw ApiError("method_not_allowed",
                 concat(path, ": expected ", allowed, ", found ", call->request.method));
}

void Service::Impl::respond(const CallPtr& call, HttpResponse response) {
  metrics_.count("http_requests_total",
                 {{"path", call->route}, {"status", std::to_string(response.status)}});
  response.headers.insert(response.headers.end(), call->headers.begin(), call->headers.end());
  call->exchange->respond(std::move(response));
}

void Service::Impl::answer(const CallPtr& call, const Json& json) {
  respond(call, {.body = answer_body(json)});
}

void Service::Impl::refuse(const CallPtr& call, const ApiError& error) {
  metrics_.count("requests_rejected_total", {{"reason", std::string(error.code())}});
  count_operation(*call, error.code());
  const bool is_anthropic = call->route.starts_with("/v1/messages");
  const Json body = is_anthropic ? anthropic_error(error) : openai_error(error);
  respond(call, error_response(error, answer_body(body)));
}

/// What the work throws becomes the answer. What nobody foresaw is logged; the client learns no
/// more than that.
void Service::Impl::guarded(const CallPtr& call, const std::function<void()>& work) {
  try {
    work();
  } catch (const ApiError& error) {
    refuse(call, error);
  } catch (const std::exception& error) {
    note(concat("error: ", call->id, ": ", Error(error.what()).what()));
    refuse(call, {"internal", "the server failed; its log says why"});
  }
}

/// Runs `work` on the pool; what it returns runs on the I/O thread.
void Service::Impl::on_pool(const CallPtr& call, std::function<std::function<void()>()> work) {
  pool_.run([this, call, work = std::move(work)] {
    std::function<void()> then;
    std::exception_ptr failure;
    try {
      then = work();
    } catch (...) {
      failure = std::current_exception();
    }
    server_.post([this, call, then = std::move(then), failure] {
      guarded(call, [&] {
        if (failure) std::rethrow_exception(failure);
        then();
      });
    });
  });
}

ServedModel Service::Impl::model_for(const Call& call) const {
  ServedModel model = served_.model;
  if (options_.salts_by_key) model.cache_salt = call.key_name;
  return model;
}

void Service::Impl::note(const std::string& text) { log_(log_note(text, options_.logs_json)); }

void Service::Impl::take_end(const RequestFigures& figures) {
  log_(log_line(figures, options_.logs_json));
  count_request(metrics_, figures);
  recent_.push_front(figures);
  if (recent_.size() > kRecentRequests) recent_.pop_back();
}

void Service::Impl::sweep() {
  answers_.sweep();
  if (stopping_) {
    if (seconds_since(*stopping_) > options_.drain_seconds) answers_.end_all();
    if (answers_.is_empty() && !std::exchange(stores_, true)) store_kept();
  }
  server_.call_after(kSweepSeconds, [this] { sweep(); });
}

void Service::Impl::begin_stop() {
  if (stopping_) return;
  stopping_ = Clock::now();
  note(concat("stopping: ", answers_.size(), " answers under way"));
}

/// Each engine's kept prompts; then the server ends.
void Service::Impl::store_kept() {
  int64_t disk = 0;
  for (const auto& engine : engines_) disk += engine->stats().cache.disk.most_page_bytes;
  if (disk > 0) note("stopping: kept prompts are written to --cache-dir");
  const auto left = std::make_shared<std::atomic<size_t>>(engines_.size());
  for (const auto& engine : engines_) {
    engine->call([this, left, fails = engine->failure().has_value()](Engine& runs) {
      try {
        if (!fails) runs.store_kept();
      } catch (const std::exception&) {  // its device failed: what was on it is lost
      }
      if (--*left == 0) server_.post([this] { server_.stop(); });
    });
  }
}

void Service::Impl::read_keys() {
  if (options_.key_file.empty()) return;
  try {
    options_.access.keys = ApiKeys::read(options_.key_file);
    note("keys were read anew");
  } catch (const Error& error) {
    note(concat("error: keys stay as they were: ", error.what()));
  }
}

Service::Service(ServedFolder served, std::vector<Engine> engines, ServeOptions options,
                 std::function<void(const std::string&)> log)
    : impl_(std::make_unique<Impl>(std::move(served), std::move(engines), std::move(options),
                                   std::move(log))) {}
Service::~Service() = default;
int Service::port() const { return impl_->port(); }
void Service::run() { impl_->run(); }
void Service::stop() { impl_->stop(); }
void Service::reload_keys() { impl_->reload_keys(); }

}  // namespace hypenet
