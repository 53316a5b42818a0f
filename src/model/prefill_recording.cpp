// What looks along the sequence is queued anew each time, for the tokens that there are: it depends
// on where they lie in memory, and may not see the rows that are nobody's.
#include "model/prefill_recording.h"

#include <utility>

namespace hypenet {
namespace {

struct Recorder : PrefillRecorder {
  Recorder(GraphSeries& to, const Prefix& chunk) : series(to), now(chunk) {}
  void aside(std::function<void(const Prefix&)> work) override {
    series.aside([&now = now, work = std::move(work)] { work(now); });
  }
  GraphSeries& series;
  const Prefix& now;
};

}  // namespace

int64_t recorded_rows(int64_t tokens) {
  // Of an eighth to a quarter more rows than tokens at most, but for the shortest.
  constexpr std::pair<int64_t, int64_t> kSteps[] = {
      {512, 64}, {1024, 128}, {kMostRecordedRows, 256}};
  for (const auto& [most, step] : kSteps) {
    if (tokens <= most) return (tokens + step - 1) / step * step;
  }
  return 0;
}

PrefillRecording::PrefillRecording(CausalLm& model, DecodeState& state, GraphMemory& memory,
                                   int64_t rows)
    : model_(model), state_(state), memory_(memory) {
  const auto options = torch::TensorOptions(torch::kInt64).device(model->head_weight().device());
  chunk_ = {.ids = torch::zeros({rows}, options),
            .positions = torch::zeros({rows}, options),
            .last = torch::zeros({1}, options)};
}

Tensor PrefillRecording::run(const Tensor& ids, const Prefix& prefix) {
  const torch::NoGradGuard no_grad;
  const int64_t T = ids.size(0);
  chunk_.ids.narrow(0, 0, T).copy_(ids);
  at::arange_out(chunk_.positions, prefix.past, prefix.past + chunk_.ids.size(0), /*step=*/1);
  chunk_.last.fill_(T - 1);
  now_ = prefix;
  now_.tokens = T;
  if (state_.sizes.pages > 0) {  // there are attention layers
    now_.places =
        places_in_pages(prefix.pages, chunk_.positions.narrow(0, 0, T), state_.sizes.page_tokens);
  }
  if (runs_++ == 1) record();
  if (!series_) return model_->prefill(chunk_, now_, state_);
  series_->replay();
  return residual_.clone();
}

void PrefillRecording::record() {
  series_.emplace(memory_, [this](GraphSeries& series) {
    Recorder recorder(series, now_);
    Prefix prefix = now_;
    prefix.recorder = &recorder;
    residual_ = model_->prefill(chunk_, prefix, state_);
  });
}

}  // namespace hypenet
