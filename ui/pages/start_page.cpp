// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/start_page.h"

#include "ui/forms/card_button.h"
#include "ui/forms/table_delegate.h"
#include "ui/models/recent_model.h"
#include "ui/plots/spark_levels.h"
#include "ui/session/recent_files.h"
#include "ui/session/session.h"
#include "ui/theme/number_text.h"
#include "ui/theme/plural.h"
#include "ui/theme/theme.h"

#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QTableView>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>

namespace nibble {

namespace {

constexpr int contentWidth = 1076;

QLabel* label(const char* look, const QString& text = {}) {
  auto* made = new QLabel(text);
  made->setProperty("look", look);
  return made;
}

}  // namespace

StartPage::StartPage(Session& session, RecentFiles& recent, QWidget* parent)
    : QWidget(parent), m_session(session), m_recent(recent), m_lane(new JobLane(JobLane::Policy::Newest, this)) {
  setObjectName("startPage");
  setAccessibleName(tr("Start"));
  auto* content = new QWidget;
  content->setMaximumWidth(contentWidth);
  auto* column = new QVBoxLayout(content);
  column->setContentsMargins(sizes::gap, 0, sizes::gap, 0);
  column->setSpacing(0);
  auto* titleLine = new QHBoxLayout;
  titleLine->setSpacing(14);
  titleLine->addWidget(label("heading", "Nibblescope"));
  auto* motto = label("label", tr("See what quantization does to your weights."));
  motto->setFont(fonts::tabs());
  motto->setContentsMargins(0, 8, 0, 0);
  titleLine->addWidget(motto, 1);
  column->addStretch(60);
  column->addLayout(titleLine);
  column->addSpacing(16);
  auto* top = new QHBoxLayout;
  top->setSpacing(12);
  top->addWidget(buildCards(), 336);
  top->addWidget(buildRecent(), 728);
  column->addLayout(top);
  column->addSpacing(30);
  column->addWidget(buildPreview());
  column->addStretch(150);
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->addStretch(1);
  row->addWidget(content, 1000);
  row->addStretch(1);
  connect(&recent, &RecentFiles::changed, this, &StartPage::showRecent);
  const QString path = samplePath();
  m_sample->setEnabled(!path.isEmpty());
  if (path.isEmpty()) return;
  m_lane->start(tr("Read the sample"), session.backend(),
                [file = path.toStdString()](const JobContext& job) { return samplePreview(file, job.context); },
                [this](Result<SamplePreview> preview) {
                  if (preview) showPreview(*preview);
                });
}

QWidget* StartPage::buildCards() {
  auto* part = new QWidget;
  auto* column = new QVBoxLayout(part);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(sizes::gap);
  const auto keys = [](const char* text) { return QKeySequence(text).toString(QKeySequence::NativeText); };
  auto* file = new CardButton("openFileButton", "open-file", tr("Open file..."), tr("safetensors, index, gguf, npy, npz"), keys("Ctrl+O"), true);
  auto* folder = new CardButton("openFolderButton", "open-folder", tr("Open folder..."), tr("a checkpoint with its shards"), keys("Ctrl+Shift+O"), false);
  m_sample = new CardButton("openSampleButton", "sample", tr("Open the sample"), tr("MiniLM layer 0"), keys("Ctrl+Shift+S"), false);
  connect(file, &QPushButton::clicked, this, &StartPage::openFileRequested);
  connect(folder, &QPushButton::clicked, this, &StartPage::openFolderRequested);
  connect(m_sample, &QPushButton::clicked, this, [this] { emit openSampleRequested({}); });
  auto* drop = new QFrame;
  drop->setObjectName("dropArea");
  drop->setProperty("look", "dropArea");
  drop->setFixedHeight(64);
  auto* dropLine = new QHBoxLayout(drop);
  auto* text = label("label", tr("or drop a file, folder, shard or index here"));
  text->setAlignment(Qt::AlignCenter);
  dropLine->addWidget(text);
  for (QWidget* widget : std::initializer_list<QWidget*>{file, folder, m_sample, drop}) column->addWidget(widget);
  column->addStretch(1);
  return part;
}

QWidget* StartPage::buildRecent() {
  auto* panel = new QFrame;
  panel->setObjectName("recentPanel");
  panel->setProperty("look", "panel");
  auto* column = new QVBoxLayout(panel);
  column->setContentsMargins(1, 1, 1, 1);
  column->setSpacing(0);
  auto* header = new QHBoxLayout;
  header->setContentsMargins(12, 8, 10, 8);
  header->addWidget(label("title", tr("Recent")));
  header->addStretch(1);
  m_recentKeys = label("hint", tr("Enter opens, Del forgets"));
  m_recentKeys->setObjectName("recentKeys");
  header->addWidget(m_recentKeys);
  column->addLayout(header);
  m_model = new RecentModel(this);
  m_table = new QTableView;
  prepareTable(m_table, "recentTable", tr("Recent files"));
  m_table->setModel(m_model);
  m_table->setAlternatingRowColors(false);
  auto* sections = m_table->horizontalHeader();
  sections->setSectionResizeMode(QHeaderView::Fixed);
  sections->setSectionResizeMode(RecentModel::Name, QHeaderView::Stretch);
  m_table->setColumnWidth(RecentModel::Folder, 100);
  m_table->setColumnWidth(RecentModel::Format, 160);
  m_table->setColumnWidth(RecentModel::Tensors, 80);
  m_table->setColumnWidth(RecentModel::Size, 92);
  m_table->installEventFilter(this);
  connect(m_model, &QAbstractItemModel::modelReset, this, [this] {
    if (m_model->rowCount() > 0) m_table->selectRow(0);
  });
  connect(m_table, &QTableView::doubleClicked, this, &StartPage::openCurrent);
  m_none = label("label", tr("Files and folders you open are listed here."));
  m_none->setObjectName("recentNone");
  m_none->setAlignment(Qt::AlignCenter);
  column->addWidget(m_table, 1);
  column->addWidget(m_none, 1);
  showRecent();
  return panel;
}

void StartPage::showRecent() {
  m_model->setFiles(m_recent.files());
  const bool any = m_model->rowCount() > 0;
  m_table->setVisible(any);
  m_recentKeys->setVisible(any);
  m_none->setVisible(!any);
}

QWidget* StartPage::buildPreview() {
  auto* part = new QWidget;
  auto* column = new QVBoxLayout(part);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(12);
  auto* line = new QHBoxLayout;
  line->setSpacing(14);
  line->addWidget(label("title", tr("In the sample")));
  m_about = label("label");
  m_about->setTextFormat(Qt::RichText);
  line->addWidget(m_about, 1);
  column->addLayout(line);
  auto* row = new QHBoxLayout;
  row->setSpacing(12);
  for (int i = 0; i < 4; ++i) {
    auto* panel = new QFrame;
    panel->setProperty("look", "panel");
    panel->setFixedHeight(232);
    auto* inside = new QVBoxLayout(panel);
    inside->setContentsMargins(1, sizes::gap, 1, 1);
    auto* header = new QHBoxLayout;
    header->setContentsMargins(sizes::inside, 0, sizes::inside, 0);
    Card card{panel, label("title"), label("label"), label("title"), new SparkLevels(nullptr, QString("sample_%1").arg(i)), {}};
    QFont large = fonts::tabs();
    large.setBold(true);
    card.title->setFont(large);
    header->addWidget(card.title, 1);
    header->addWidget(card.bpw);
    header->addSpacing(sizes::gap);
    header->addWidget(card.sqnr);
    inside->addLayout(header);
    inside->addWidget(card.plot, 1);
    row->addWidget(panel, 1);
    connect(card.plot, &SparkLevels::clicked, this, [this, i] { emit openSampleRequested(m_cards[static_cast<std::size_t>(i)].choice); });
    m_cards.push_back(card);
  }
  column->addLayout(row);
  m_cost = label("label");
  column->addWidget(m_cost);
  return part;
}

void StartPage::showPreview(const SamplePreview& preview) {
  m_about->setText(tr("one query matrix under <span style=\"font-family:'%1'\">hqq:group=64</span>: grey, its %2 weights; orange, the levels one group of 64 may use")
                       .arg(fonts::fixed().family(), formatCount(preview.weights)));
  m_sample->setLine(tr("MiniLM layer 0, %1").arg(counted(static_cast<qint64>(preview.tensors), tr("%1 tensor"), tr("%1 tensors"))));
  double least = 1e9, most = 0;
  for (std::size_t i = 0; i < std::min(m_cards.size(), preview.settings.size()); ++i) {
    const auto& setting = preview.settings[i];
    auto& card = m_cards[i];
    card.choice = QString::fromStdString(setting.choice);
    card.title->setText(counted(setting.bits, tr("%1 bit"), tr("%1 bits")));
    card.bpw->setText(tr("%1 bpw").arg(formatBpw(setting.bitsPerWeight)));
    card.sqnr->setText(formatSqnrWithUnit(setting.sqnrDb, 1));
    card.plot->setData({preview.histogram, setting.levels, Family::Hqq});
    card.plot->setAccessibleName(tr("Open the sample with %1").arg(card.title->text()));
    if (i == 0) continue;
    const auto& before = preview.settings[i - 1];
    const double cost = (before.sqnrDb - setting.sqnrDb) / (before.bits - setting.bits);
    least = std::min(least, cost);
    most = std::max(most, cost);
  }
  m_cost->setText(tr("Here each bit less costs %1 to %2 dB. A click opens the sample with that setting.").arg(std::nearbyint(least)).arg(std::nearbyint(most)));
}

void StartPage::openCurrent() {
  if (m_table->currentIndex().isValid()) emit openRequested(m_model->path(m_table->currentIndex().row()));
}

bool StartPage::eventFilter(QObject* watched, QEvent* event) {
  if (event->type() != QEvent::KeyPress || !m_table->currentIndex().isValid()) return QWidget::eventFilter(watched, event);
  const int key = static_cast<QKeyEvent*>(event)->key();
  if (key == Qt::Key_Return || key == Qt::Key_Enter) {
    openCurrent();
    return true;
  }
  if (key == Qt::Key_Delete) {
    m_recent.forget(m_model->path(m_table->currentIndex().row()));
    return true;
  }
  return QWidget::eventFilter(watched, event);
}

}  // namespace nibble
