from tinynas.experiment.metric_names import TASK_METRICS
from tinynas.tasks.registry import TASKS


def test_metrics_in_percent_are_those_of_the_tasks():
    assert set(TASK_METRICS) == {task.metric for task in TASKS.values()}
