"""How the numbers of an evaluation are shown. Nothing here imports torch."""

from sightline.cli.output import share, show_table
from sightline.evaluation.coco import CocoResult
from sightline.evaluation.evaluation import Evaluation

Table = tuple[list[str], list[list[str]]]


def show_evaluation(evaluation: Evaluation, title: str) -> None:
    """The numbers as tables, each with its protocol."""
    print(title)
    if evaluation.protocols != ("coco",):
        show_table(*_protocol_table(evaluation))
    if "coco" in evaluation.protocols:
        print(evaluation.result.protocol)
        show_table(*_metrics_table(evaluation.result))
    for result in evaluation.also:
        print(result.protocol)
        show_table(*_metrics_table(result))
    show_table(*_class_table(evaluation))


def _metrics_table(result: CocoResult) -> Table:
    metrics = result.metrics()
    return [f">{name}" for name in metrics], [[share(value) for value in metrics.values()]]


def _protocol_table(evaluation: Evaluation) -> Table:
    rows = [[name, share(value)] for name, value in evaluation.means().items()]
    return ["protocol", ">mean over classes"], rows


def _class_table(evaluation: Evaluation) -> Table:
    columns, rows = ["class"], [[found.name] for found in evaluation.result.per_class]
    if "coco" in evaluation.protocols:
        columns += [">AP", ">AP50", ">AP75"]
        for row, found in zip(rows, evaluation.result.per_class, strict=True):
            row += [share(found.ap), share(found.ap50), share(found.ap75)]
    for also in evaluation.also:
        columns.append(f">{also.kind} AP")
        for row, of_kind in zip(rows, also.per_class, strict=True):
            row.append(share(of_kind.ap))
    for result in evaluation.voc_results:
        columns.append(f">{result.short_name}")
        for row, of_class in zip(rows, result.per_class, strict=True):
            row.append(share(of_class.ap))
    for row, found in zip(rows, evaluation.result.per_class, strict=True):
        row += [str(found.objects), str(found.detections)]
    return [*columns, ">objects", ">detections"], rows
