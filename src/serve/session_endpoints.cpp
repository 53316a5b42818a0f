// Saving and restoring sessions: tokens on the pool, the prefix on the engine's thread, the file on
// the pool again.
#include <algorithm>

#include "base/seconds.h"
#include "serve/prepare.h"
#include "serve/service_impl.h"

namespace hypenet {
namespace {

/// What to save: the tokens of a conversation, of a text, or of an answer that was given.
struct Wanted {
  std::vector<int32_t> tokens;
  std::string salt;
  Json messages = nullptr;
};

}  // namespace

/// A session that is being saved.
struct Service::Impl::Saving {
  CallPtr call;
  std::string name;
  std::chrono::steady_clock::time_point begun;
  std::optional<Sessions::Writing> writing;  // until the client is answered
  Wanted wanted;
  std::optional<SavedPrefix> prefix = {};  // the longest that an engine has
  size_t asked = 0;                        // engines
};

void Service::Impl::list_sessions(const CallPtr& call) {
  on_pool(call, [this, call] {
    Json json = sessions_.list();
    return [this, call, json = std::move(json)] { answer(call, json); };
  });
}

void Service::Impl::show_session(const CallPtr& call) {
  on_pool(call, [this, call] {
    Json json = sessions_.about(call->rest);
    return [this, call, json = std::move(json)] { answer(call, json); };
  });
}

/// Every end of one is counted, refusals by their code.
void Service::Impl::count_operation(const Call& call, std::string_view result) {
  if (call.operation.empty()) return;
  metrics_.count("session_operations_total",
                 {{"op", call.operation}, {"result", std::string(result)}});
}

void Service::Impl::remove_session(const CallPtr& call) {
  call->operation = "delete";
  on_pool(call, [this, call] {
    sessions_.remove(call->rest);
    return [this, call] {
      count_operation(*call, "ok");
      answer(call, {{"name", call->rest}, {"deleted", true}});
    };
  });
}

void Service::Impl::change_session(const CallPtr& call) {
  const size_t slash = call->rest.rfind('/');
  const std::string name = call->rest.substr(0, slash);
  const std::string verb = slash == std::string::npos ? "" : call->rest.substr(slash + 1);
  if (verb == "save" || verb == "restore") call->operation = verb;
  if (verb == "save") return save_session(call, name);
  if (verb == "restore") return restore_session(call, name);
  throw ApiError("unknown_url",
                 concat("expected /v1/sessions/NAME/save or /restore, found ", call->request.path));
}

void Service::Impl::save_session(const CallPtr& call, const std::string& name) {
  Saving begun{.call = call,
               .name = name,
               .begun = call->arrived,
               .writing = sessions_.begin_writing(name),
               .wanted = {}};
  const auto saving = std::make_shared<Saving>(std::move(begun));
  const Json body = parse_body(call->request.body);
  if (body.contains("response_id")) {
    const std::string id = read_string({body["response_id"], "response_id"});
    const auto record = std::ranges::find(answers_.records(), id, &AnswerRecord::id);
    if (record == answers_.records().end()) {
      throw ApiError("invalid_value", "response_id: expected that of one of the last answers",
                     "response_id");
    }
    saving->wanted = {.tokens = record->tokens, .salt = record->salt};
    return save_tokens(saving);
  }
  on_pool(call, [this, call, saving, body] {
    const ServedModel model = model_for(*call);
    if (body.contains("messages")) {
      const ChatRequest chat = parse_chat_request(body, model);
      saving->wanted = {.tokens = encode_prompt(served_, chat).ids,
                        .salt = chat.settings.cache_salt,
                        .messages = body["messages"]};
    } else {
      const std::string& text = read_string(required({body, ""}, "prompt"));
      saving->wanted = {.tokens = served_.tokenizer.encode(text), .salt = model.cache_salt};
    }
    return [this, saving] { save_tokens(saving); };
  });
}

/// Asks each engine in turn what it has of the tokens, and writes the longest.
void Service::Impl::save_tokens(const std::shared_ptr<Saving>& saving) {
  if (saving->asked == engines_.size()) return write_session(saving);
  EngineThread& engine = *engines_[saving->asked++];
  if (engine.failure()) return save_tokens(saving);
  engine.call([this, saving](Engine& runs) {
    auto prefix = runs.save_prefix(saving->wanted.tokens, saving->wanted.salt);
    server_.post([this, saving, prefix = std::move(prefix)]() mutable {
      const bool is_longer =
          prefix && (!saving->prefix || prefix->tokens.size() > saving->prefix->tokens.size());
      if (is_longer) saving->prefix = std::move(prefix);
      save_tokens(saving);
    });
  });
}

void Service::Impl::write_session(const std::shared_ptr<Saving>& saving) {
  guarded(saving->call, [&] {
    if (!saving->prefix || saving->prefix->tokens.empty()) {
      saving->writing.reset();
      throw ApiError("nothing_cached",
                     "expected a prefix that was read before and is kept, found none");
    }
    on_pool(saving->call, [this, saving] {
      const auto about = sessions_.save(saving->name, *saving->prefix,
                                        static_cast<int64_t>(saving->wanted.tokens.size()),
                                        saving->wanted.messages);
      return [this, saving, about] {
        count_operation(*saving->call, "ok");
        saving->writing.reset();
        answer(saving->call, {{"name", saving->name},
                              {"tokens", about.tokens},
                              {"saved_tokens", about.saved_tokens},
                              {"snapshots", about.snapshots},
                              {"bytes", about.bytes},
                              {"seconds", seconds_since(saving->begun)}});
      };
    });
  });
}

/// Where a session goes: to the engine that requests with its beginning will be sent to.
size_t Service::Impl::engine_for(std::span<const int32_t> tokens, const std::string& salt) const {
  const auto runs = std::ranges::find_if(engines_, [](const auto& one) { return !one->failure(); });
  if (runs == engines_.end()) throw ApiError("model_error", "no engine runs any more");
  const size_t home = answers_.home_of(tokens, salt);
  return engines_[home]->failure() ? static_cast<size_t>(runs - engines_.begin()) : home;
}

void Service::Impl::restore_session(const CallPtr& call, const std::string& name) {
  on_pool(call, [this, call, name] {
    const bool is_bare = call->request.body.empty();
    const Json body = is_bare ? Json(Json::object()) : parse_body(call->request.body);
    const auto nearest = Field{body, ""}.find("nearest");
    const ServedModel model = model_for(*call);
    const auto prefix =
        std::make_shared<SavedPrefix>(sessions_.load(name, nearest && read_boolean(*nearest)));
    return [this, call, name, prefix, salt = model.cache_salt] {
      put_session(call, name, prefix, salt);
    };
  });
}

void Service::Impl::put_session(const CallPtr& call, const std::string& name,
                                const std::shared_ptr<SavedPrefix>& prefix,
                                const std::string& salt) {
  const size_t engine = engine_for(prefix->tokens, salt);
  engines_[engine]->call([this, call, name, prefix, salt, engine](Engine& runs) {
    int64_t restored = 0;
    std::string failure;
    try {
      restored = runs.restore_prefix(*prefix, salt);
    } catch (const std::exception& error) {
      failure = error.what();
    }
    const auto host = runs.stats().cache.host;
    const bool has_host = host.most_page_bytes + host.most_snapshot_bytes > 0;
    server_.post([this, call, name, prefix, salt, engine, restored, failure, has_host] {
      guarded(call, [&] {
        if (!failure.empty()) throw ApiError("session_mismatch", "session: " + failure);
        answers_.learn(engine, prefix->tokens, salt_key(salt));
        count_operation(*call, "ok");
        answer(call, {{"name", name},
                      {"tokens", prefix->tokens.size()},
                      {"restored_tokens", restored},
                      {"tier", has_host ? "host" : "gpu"},
                      {"seconds", seconds_since(call->arrived)}});
      });
    });
  });
}

}  // namespace hypenet
