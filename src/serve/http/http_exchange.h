// HttpExchange between threads: the handle that a handler holds, and what it needs of a server.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "serve/http/http.h"

namespace hypenet {

/// The thread on which connections live.
class IoThread {
 public:
  virtual ~IoThread() = default;
  virtual bool is_current() const = 0;
  virtual void post(std::function<void()> function) = 0;
};

/// A connection whose request is being answered; called on the I/O thread, in an order that makes
/// an answer.
class AnsweredConnection {
 public:
  virtual ~AnsweredConnection() = default;
  virtual void respond(HttpResponse response) = 0;
  virtual void begin(HttpResponse head) = 0;
  virtual void write(std::string_view bytes) = 0;
  virtual void finish() = 0;

  /// The exchange was dropped before its end.
  virtual void abandon(bool has_begun) = 0;
};

/// Holds neither thread nor connection, so that an answer under way may outlive both.
class ConnectionExchange final : public HttpExchange,
                                 public std::enable_shared_from_this<ConnectionExchange> {
 public:
  ConnectionExchange(std::weak_ptr<IoThread> thread, std::weak_ptr<AnsweredConnection> connection);
  ~ConnectionExchange() override;

  void respond(HttpResponse response) override;
  void begin(HttpResponse head) override;
  void write(std::string bytes) override;
  void finish() override;
  void on_gone(std::function<void()> told) override;

  /// The client went before the end; on the I/O thread.
  void lose();

 private:
  enum class State { kNew, kBegun, kEnded };

  template <class Function>
  void on_io_thread(Function function);
  template <class Function>
  void act(State needed, State after, Function function);
  void tell(std::function<void()> told);

  std::weak_ptr<IoThread> thread_;
  std::weak_ptr<AnsweredConnection> connection_;
  std::function<void()> told_;  // these three only on the I/O thread
  State state_ = State::kNew;
  bool is_gone_ = false;
};

}  // namespace hypenet
