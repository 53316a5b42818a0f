// The inside of Service, whose endpoints are in several files.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/engine_thread.h"
#include "serve/answers_under_way.h"
#include "serve/metrics.h"
#include "serve/pool.h"
#include "serve/service.h"
#include "serve/sessions.h"

namespace hypenet {

/// JSON as answers have it.
std::string answer_body(const Json& json);

/// One request on its way to an answer.
struct Call {
  HttpRequest request;
  std::shared_ptr<HttpExchange> exchange;
  std::string id = {}, key_name = {}, route = {};
  std::chrono::steady_clock::time_point arrived;
  std::vector<HttpHeader> headers = {};  // of any answer
  std::string rest = {};                 // of the path, behind the route's
  std::string operation = {};            // on sessions, to be counted: save, restore, delete
};
using CallPtr = std::shared_ptr<Call>;

class Service::Impl {
 public:
  Impl(ServedFolder served, std::vector<Engine> engines, ServeOptions options,
       std::function<void(const std::string&)> log);
  ~Impl();

  int port() const { return server_.port(); }
  void run() { server_.run(); }
  void stop() {
    server_.post([this] { begin_stop(); });
  }
  void reload_keys() {
    server_.post([this] { read_keys(); });
  }

 private:
  using Handler = void (Impl::*)(const CallPtr&);
  struct Route {
    std::string_view method, path;  // a path that ends with / is a beginning
    Handler handler;
    bool is_open = false;  // needs no key
  };
  static std::span<const Route> routes();

  void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange);
  void dispatch(const CallPtr& call);
  void respond(const CallPtr& call, HttpResponse response);
  void answer(const CallPtr& call, const Json& json);
  void refuse(const CallPtr& call, const ApiError& error);
  void guarded(const CallPtr& call, const std::function<void()>& work);
  void on_pool(const CallPtr& call, std::function<std::function<void()>()> work);
  ServedModel model_for(const Call& call) const;

  void show_page(const CallPtr& call);
  void show_health(const CallPtr& call);
  void show_models(const CallPtr& call);
  void show_model(const CallPtr& call);
  void show_metrics(const CallPtr& call);
  void show_status(const CallPtr& call);
  void complete_chat(const CallPtr& call);
  void complete_text(const CallPtr& call);
  void complete_messages(const CallPtr& call);
  void count_tokens(const CallPtr& call);
  void tokenize(const CallPtr& call);
  void detokenize(const CallPtr& call);
  void apply_template(const CallPtr& call);
  void clear_cache(const CallPtr& call);
  void list_sessions(const CallPtr& call);
  void show_session(const CallPtr& call);
  void change_session(const CallPtr& call);
  void remove_session(const CallPtr& call);
  void count_operation(const Call& call, std::string_view result);
  size_t engine_for(std::span<const int32_t> tokens, const std::string& salt) const;
  void save_session(const CallPtr& call, const std::string& name);
  void restore_session(const CallPtr& call, const std::string& name);
  void put_session(const CallPtr& call, const std::string& name,
                   const std::shared_ptr<SavedPrefix>& prefix, const std::string& salt);
  struct Saving;
  void save_tokens(const std::shared_ptr<Saving>& saving);
  void write_session(const std::shared_ptr<Saving>& saving);

  using Prepare = std::function<PreparedAnswer(const ServedModel&, Random&)>;
  void start_answer(const CallPtr& call, Prepare prepare);
  void begin_answer(const CallPtr& call, PreparedAnswer answer);
  void note(const std::string& text);
  void take_end(const RequestFigures& figures);
  void sweep();
  void begin_stop();
  void store_kept();
  void read_keys();

  ServedFolder served_;
  ServeOptions options_;
  std::function<void(const std::string&)> log_;
  Metrics metrics_;
  AnswersUnderWay answers_;
  HttpServer server_;
  std::vector<std::unique_ptr<EngineThread>> engines_;
  Sessions sessions_;
  Random random_;
  std::deque<RequestFigures> recent_;
  std::optional<std::chrono::steady_clock::time_point> stopping_;
  bool stores_ = false;  // what is kept goes to disk: the last thing that is done
  Pool pool_;            // last: its tasks use all of the above
};

}  // namespace hypenet
