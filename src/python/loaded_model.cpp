// Calls and jobs are known by one lock, which is held before the engine thread's own. The engine's
// thread never waits for Python.
#include "python/loaded_model.h"

#include <ATen/DLConvertor.h>
#include <torch/cuda.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "base/error.h"
#include "engine/engine_thread.h"
#include "engine/open.h"
#include "engine/places.h"
#include "gguf/model_files.h"
#include "model/token_ids.h"
#include "model/weights.h"
#include "python/threads.h"
#include "store/checkpoint.h"
#include "text/stop_strings.h"

namespace hypenet {
namespace {

constexpr std::chrono::milliseconds kPatience(50);
constexpr const char* kClosed = "model: closed";

ModelSpec spec_of(const LoadOptions& options) {
  ModelSpec spec{.device = device_of(options.device, "device")};
  spec.type = type_or_auto(options.type, "dtype");
  spec.activations = parse_activations(options.activations, "activations");
  spec.cache_type = parse_cache_type(options.cache_type, "cache_type");
  if (options.attn_logits_scaling.empty()) return spec;
  const std::string& text = options.attn_logits_scaling;
  const bool is_json = Json::accept(text);  // a number or null
  spec.attn_logits_scaling = parse_logits_scaling(
      text == "none" ? Json(nullptr) : (is_json ? Json::parse(text) : Json(text)),
      "attn_logits_scaling");
  return spec;
}

EngineOptions options_of(const LoadOptions& options, torch::Device device) {
  constexpr int64_t kMostTokens = int64_t{1} << 24, kMostSequences = int64_t{1} << 14;
  const auto check = [](const char* name, int64_t value, int64_t most) {
    HYPENET_CHECK(value >= 0 && value <= most, name, ": expected 0 to ", most, ", found ", value);
  };
  check("context", options.max_context, kMostTokens);
  check("max_sequences", options.max_sequences, kMostSequences);
  check("memory", options.memory_bytes, INT64_MAX);
  const int64_t side_by_side = device.is_cuda() ? 64 : 16;
  EngineOptions engine{
      .memory_bytes = options.memory_bytes,
      .max_sequences = options.max_sequences > 0 ? options.max_sequences : side_by_side,
      .max_context = options.max_context};
  if (options.keeps_prompts) engine.cache_bytes = -1;
  return engine;
}

/// A call whose answers are under way.
struct Call {
  std::shared_ptr<AnswerQueue> queue;
  int64_t index;
  StopStrings text;
};

}  // namespace

/// Work between two steps, for which its caller waits.
struct Job {
  std::mutex mutex;
  std::condition_variable ended;
  bool is_done = false;
  std::exception_ptr error;
  std::atomic<bool> stops = false;

  void end(std::exception_ptr what) {
    {
      const std::scoped_lock lock(mutex);
      if (is_done) return;
      is_done = true, error = std::move(what);
    }
    ended.notify_all();
  }
};

struct LoadedModel::Impl {
  explicit Impl(CausalLm opened) : model(std::move(opened)) {}

  void on_news(const std::vector<EngineNews>& news);
  void tell(const EngineNews& news);
  void drop(int64_t ticket, Call& call, const std::string& finish);
  void fail_call(const std::shared_ptr<AnswerQueue>& queue, const std::string& reason);
  void check_process() const;
  EngineThread& open_thread();
  void post(const std::shared_ptr<Job>& job, bool alone,
            std::function<void(Engine&, const Stopped&)> work);
  void run_job(Engine& engine, const std::shared_ptr<Job>& job, bool alone,
               const std::function<void(Engine&, const Stopped&)>& work);

  CausalLm model;
  const pid_t process = ::getpid();
  std::atomic<bool> closes = false;
  std::mutex closing;  // of whoever closes: the other waits for the same end

  std::mutex mutex;
  std::map<int64_t, Call> calls;  // by ticket
  int64_t last_ticket = 0;
  std::set<std::shared_ptr<Job>> jobs;
  std::atomic<int64_t> longest = 0;      // tokens of prompt and answer; 0: not yet asked for
  std::unique_ptr<EngineThread> thread;  // null: closed
};

LoadedModel::LoadedModel(const LoadOptions& options,
                         const std::function<void(const std::string&)>& tell) {
  use_threads(options.threads);
  const ModelSpec spec = spec_of(options);
  const EngineOptions engine_options = options_of(options, spec.device);
  const Checkpoint checkpoint(options.folder);
  text_ = TextSide::load(options.folder);
  const int64_t tokens = text_->tokenizer().vocab_size();
  impl_ = std::make_unique<Impl>(open_model(checkpoint, spec, tell));
  const ModelConfig& config = impl_->model->config();
  HYPENET_CHECK(tokens <= config.vocab_size, model_file_place(options.folder, "tokenizer.json"),
                ": expected at most ", config.vocab_size,
                " tokens (config.json: vocab_size), found ", tokens);
  const torch::Tensor head = impl_->model->head_weight();
  about_ = {.folder = options.folder,
            .device = spec.device.str(),
            .type = type_name(head.scalar_type()),
            .config = to_json(config),
            .vocab_size = config.vocab_size,
            .made_for = config.max_position_embeddings};
  for (const torch::Tensor& parameter : impl_->model->parameters()) {
    about_.parameters += parameter.numel();
  }
  impl_->thread = std::make_unique<EngineThread>(
      Engine(impl_->model, engine_options),
      [impl = impl_.get()](const std::vector<EngineNews>& news, const std::optional<StepFigures>&) {
        impl->on_news(news);
      });
}

LoadedModel::~LoadedModel() {
  if (impl_->process == ::getpid()) {
    close();
    return;
  }
  // The fork has no such thread to wait for: what the engine holds stays until the process ends.
  [[maybe_unused]] const Impl* const left = impl_.release();
}

bool LoadedModel::is_open() const {
  if (impl_->process != ::getpid()) return false;
  const std::scoped_lock lock(impl_->mutex);
  return impl_->thread != nullptr;
}

/// To be asked before the lock, which a fork may have inherited locked.
void LoadedModel::Impl::check_process() const {
  HYPENET_CHECK(process == ::getpid(), "model: opened in process ", process,
                ", whose fork has no engine: load the model in each process");
}

/// Under the lock.
EngineThread& LoadedModel::Impl::open_thread() {
  HYPENET_CHECK(thread != nullptr && !closes, kClosed);
  return *thread;
}

void LoadedModel::close() {
  if (impl_->process != ::getpid()) return;
  const std::scoped_lock closing(impl_->closing);
  impl_->closes = true;
  std::unique_ptr<EngineThread> thread;
  {
    const std::scoped_lock lock(impl_->mutex);
    thread = std::move(impl_->thread);
  }
  thread.reset();  // waits for the step or job under way
  const std::scoped_lock lock(impl_->mutex);
  for (auto& [ticket, call] : impl_->calls)
    call.queue->fail("model: closed before its answer ended");
  impl_->calls.clear();
  for (const auto& job : impl_->jobs) job->end(std::make_exception_ptr(Error(kClosed)));
  impl_->jobs.clear();
  impl_->model = nullptr;
}

std::shared_ptr<AnswerQueue> LoadedModel::submit(std::vector<Request> requests,
                                                 const AnswerOptions& options,
                                                 const WhileWaiting& meanwhile) {
  impl_->check_process();
  auto queue = std::make_shared<AnswerQueue>(std::ssize(requests));
  if (impl_->longest == 0) {
    const auto ask = [&](Engine& engine, const Stopped&) {
      impl_->longest = engine.longest_sequence();
    };
    run(false, ask, meanwhile);
  }
  const int64_t longest = impl_->longest;
  for (Request& request : requests) {
    const auto tokens = std::ssize(request.prompt);
    HYPENET_CHECK(tokens < longest, "prompt: expected at most ", longest - 1,
                  " tokens, which leave one for the answer, found ", tokens,
                  "; load() with a larger memory= or context= takes more");
    request.options.max_tokens = std::min(request.options.max_tokens, longest - tokens);
  }
  const std::scoped_lock lock(impl_->mutex);
  EngineThread& thread = impl_->open_thread();
  for (size_t i = 0; i < requests.size(); ++i) {
    const int64_t ticket = ++impl_->last_ticket;
    impl_->calls.emplace(
        ticket, Call{queue, static_cast<int64_t>(i),
                     StopStrings(text_->tokenizer(), options.stop, options.skip_special_tokens)});
    thread.submit(ticket, std::move(requests[i]));
  }
  return queue;
}

void LoadedModel::cancel(const std::shared_ptr<AnswerQueue>& queue) {
  if (impl_->process != ::getpid()) return;
  const std::scoped_lock lock(impl_->mutex);
  impl_->fail_call(queue, "answer: cancelled");
}

/// Under the lock: its answers end, and its queue says why.
void LoadedModel::Impl::fail_call(const std::shared_ptr<AnswerQueue>& queue,
                                  const std::string& reason) {
  std::erase_if(calls, [&](const auto& entry) {
    if (entry.second.queue != queue) return false;
    if (thread) thread->cancel(entry.first);
    return true;
  });
  queue->fail(reason);
}

void LoadedModel::Impl::on_news(const std::vector<EngineNews>& news) {
  const std::scoped_lock lock(mutex);
  for (const EngineNews& item : news) tell(item);
}

/// Under the lock.
void LoadedModel::Impl::tell(const EngineNews& news) {
  const int64_t ticket = news.event.sequence;
  const auto place = calls.find(ticket);
  if (place == calls.end()) return;  // cancelled
  Call& call = place->second;
  const std::shared_ptr<AnswerQueue> queue = call.queue;
  if (!news.refusal.empty()) return fail_call(queue, news.refusal);
  if (!news.failure.empty()) return fail_call(queue, news.failure);
  const Event& event = news.event;
  if (event.finish == FinishReason::kNotFinite) {
    return fail_call(queue, "the model's logits: expected finite numbers, found nan or infinity");
  }
  if (event.id >= 0) {
    std::string text = call.text.push(event.id);
    queue->push({call.index, std::move(text), event.id, event.logprob, event.top});
    if (call.text.has_stopped()) {
      if (thread && event.finish == FinishReason::kNone) thread->cancel(ticket);
      return drop(ticket, call, "stop");
    }
  }
  if (event.finish != FinishReason::kNone) drop(ticket, call, std::string(to_string(event.finish)));
}

/// Tells an answer's end.
void LoadedModel::Impl::drop(int64_t ticket, Call& call, const std::string& finish) {
  AnswerPiece end{.index = call.index, .finish = finish};
  if (!call.text.has_stopped()) end.text = call.text.finish();
  call.queue->push(std::move(end));
  calls.erase(ticket);
}

void LoadedModel::Impl::post(const std::shared_ptr<Job>& job, bool alone,
                             std::function<void(Engine&, const Stopped&)> work) {
  open_thread().call([this, job, alone, work = std::move(work)](Engine& engine) {
    run_job(engine, job, alone, work);
  });
}

/// On the engine's thread. What waits to be alone comes again behind the next step.
void LoadedModel::Impl::run_job(Engine& engine, const std::shared_ptr<Job>& job, bool alone,
                                const std::function<void(Engine&, const Stopped&)>& work) {
  std::exception_ptr error;
  try {
    const Stopped stopped = [this, &job] { return job->stops || closes; };
    if (!stopped()) {
      if (alone && !engine.is_idle()) {
        const std::scoped_lock lock(mutex);
        if (const auto failure = open_thread().failure()) throw Error(*failure);
        return post(job, alone, work);
      }
      work(engine, stopped);
    }
  } catch (...) {
    error = std::current_exception();
  }
  job->end(error);
}

void LoadedModel::run(bool alone, std::function<void(Engine&, const Stopped&)> work,
                      const WhileWaiting& meanwhile) {
  impl_->check_process();
  const auto job = std::make_shared<Job>();
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->post(job, alone, std::move(work));
    impl_->jobs.insert(job);
  }
  std::exception_ptr own_error;
  std::unique_lock lock(job->mutex);
  while (!job->ended.wait_for(lock, kPatience, [&] { return job->is_done; })) {
    lock.unlock();
    try {
      if (meanwhile && !own_error) meanwhile();
    } catch (...) {  // the work sees what lives in this call: its end is waited for
      own_error = std::current_exception();
      job->stops = true;
    }
    lock.lock();
  }
  const std::exception_ptr error = job->error;
  lock.unlock();
  {
    const std::scoped_lock own(impl_->mutex);
    impl_->jobs.erase(job);
  }
  if (own_error) std::rethrow_exception(own_error);
  HYPENET_CHECK(!impl_->closes, kClosed);
  if (error) std::rethrow_exception(error);
}

namespace {

/// float32 [B, T, V] of ids [B, T], as CausalLm::forward, layer by layer: Ctrl-C waits for one.
torch::Tensor stoppable_logits(CausalLm& model, const torch::Tensor& ids, const Stopped& stopped) {
  const Context context = model->context(ids);
  Residual h = {model->embed(ids)};
  for (int64_t i = 0; i < std::ssize(model->config().mixer_types); ++i) {
    HYPENET_CHECK(!stopped(), "logits: stopped");
    h = model->layer(i)->forward(h, context);
  }
  return model->logits(model->finish(h)).to(torch::kFloat32).contiguous();
}

}  // namespace

DLManagedTensor* LoadedModel::logits(const std::vector<std::vector<int32_t>>& ids,
                                     const WhileWaiting& meanwhile) {
  HYPENET_CHECK(!ids.empty() && !ids[0].empty(), "logits: expected token ids, found none");
  for (const auto& row : ids) {
    HYPENET_CHECK(row.size() == ids[0].size(), "logits: expected rows of one length, found ",
                  ids[0].size(), " and ", row.size(), " tokens");
    check_ids("logits: ids", row, about_.vocab_size);
  }
  torch::Tensor logits;
  run(
      false,
      [&, model = impl_->model](Engine& engine, const Stopped& stopped) mutable {
        const torch::NoGradGuard no_grad;
        std::vector<torch::Tensor> rows;
        rows.reserve(ids.size());
        for (const auto& row : ids) rows.push_back(ids_tensor(row, engine.device()));
        logits = stoppable_logits(model, torch::stack(rows), stopped);
        if (logits.is_cuda()) torch::cuda::synchronize(logits.get_device());
      },
      meanwhile);
  return at::toDLPack(logits);
}

DLManagedTensor* tensor_of(const std::vector<double>& values) {
  return at::toDLPack(torch::tensor(values, torch::kFloat64));
}

DLManagedTensor* tensor_of(const std::vector<bool>& values) {
  torch::Tensor tensor = torch::empty(std::ssize(values), torch::kBool);
  auto* const data = tensor.data_ptr<bool>();
  for (size_t i = 0; i < values.size(); ++i) data[i] = values[i];
  return at::toDLPack(tensor);
}

void free_tensor(DLManagedTensor* tensor) {
  if (tensor->deleter != nullptr) tensor->deleter(tensor);
}

}  // namespace hypenet
