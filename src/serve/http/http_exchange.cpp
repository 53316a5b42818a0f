// An exchange's calls become calls of its connection, on the I/O thread and in the right order.
#include "serve/http/http_exchange.h"

#include <utility>

namespace hypenet {

ConnectionExchange::ConnectionExchange(std::weak_ptr<IoThread> thread,
                                       std::weak_ptr<AnsweredConnection> connection)
    : thread_(std::move(thread)), connection_(std::move(connection)) {}

ConnectionExchange::~ConnectionExchange() {
  const auto thread = thread_.lock();
  if (!thread || state_ == State::kEnded) return;
  thread->post([weak = connection_, has_begun = state_ == State::kBegun] {
    if (const auto connection = weak.lock()) connection->abandon(has_begun);
  });
}

template <class Function>
void ConnectionExchange::on_io_thread(Function function) {
  const auto thread = thread_.lock();
  if (!thread) return;
  if (thread->is_current()) return function(*this);
  // std::function copies what it holds; an answer's bytes need not be.
  const auto held = std::make_shared<Function>(std::move(function));
  thread->post([self = shared_from_this(), held] { (*held)(*self); });
}

/// One step of the answer, in the state that it needs; in any other it does nothing.
template <class Function>
void ConnectionExchange::act(State needed, State after, Function function) {
  on_io_thread([needed, after, function = std::move(function)](ConnectionExchange& self) mutable {
    const auto connection = self.connection_.lock();
    if (!connection || self.state_ != needed) return;
    self.state_ = after;
    if (after == State::kEnded) self.told_ = nullptr;
    function(*connection);
  });
}

void ConnectionExchange::respond(HttpResponse response) {
  act(State::kNew, State::kEnded, [response = std::move(response)](auto& connection) mutable {
    connection.respond(std::move(response));
  });
}

void ConnectionExchange::begin(HttpResponse head) {
  act(State::kNew, State::kBegun,
      [head = std::move(head)](auto& connection) mutable { connection.begin(std::move(head)); });
}

void ConnectionExchange::write(std::string bytes) {
  act(State::kBegun, State::kBegun,
      [bytes = std::move(bytes)](auto& connection) { connection.write(bytes); });
}

void ConnectionExchange::finish() {
  act(State::kBegun, State::kEnded, [](auto& connection) { connection.finish(); });
}

void ConnectionExchange::on_gone(std::function<void()> told) {
  on_io_thread([told = std::move(told)](ConnectionExchange& self) mutable {
    if (self.is_gone_) return self.tell(std::move(told));
    if (self.state_ != State::kEnded) self.told_ = std::move(told);
  });
}

void ConnectionExchange::lose() {
  state_ = State::kEnded;
  is_gone_ = true;
  if (told_) tell(std::exchange(told_, nullptr));
}

/// Never within a call of the exchange: who made it may be walking through all of them.
void ConnectionExchange::tell(std::function<void()> told) {
  if (const auto thread = thread_.lock()) thread->post(std::move(told));
}

}  // namespace hypenet
