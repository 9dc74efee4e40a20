"""SLURM as Hydra's launcher, by submitit's. A job that SLURM takes away costs none of the others; Ctrl-C ends them all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

try:
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher  # type: ignore[import-untyped]
except ImportError:  # without .[sweeps] there is no launcher=slurm
    SlurmLauncher = None

if SlurmLauncher is not None:

    class SlurmJobs(SlurmLauncher):
        """submitit's launcher raises at the first job without a result, and leaves the others running."""

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            """Hydra's."""
            from submitit.core.core import Job
            from submitit.core.utils import FailedJobError, UncompletedJobError
            from submitit.slurm.slurm import SlurmJob

            from unroll.runs import FAILURE, SUMMARY
            from unroll.sweep.slurm import cancel

            assert self.config is not None
            sweep = Path(str(self.config.hydra.sweep.dir))

            def results(job: Any) -> list[Any]:
                try:
                    return Job.results(job)
                except (UncompletedJobError, FailedJobError) as error:
                    folder = sweep / str(job.submission().args[2])
                    folder.mkdir(exist_ok=True)
                    if not (folder / SUMMARY).exists() and not (folder / FAILURE).exists():
                        state = job.state if isinstance(error, UncompletedJobError) else "FAILED"
                        (folder / FAILURE).write_text(
                            f"SLURM's job {job.job_id} ended without a result ({state}); see {job.paths.stderr}\n"
                        )
                    return [JobReturn(_return_value=None, status=JobStatus.COMPLETED)]

            SlurmJob.results = results  # type: ignore[method-assign,assignment]  # map_array names that class itself
            try:
                return super().launch(job_overrides, initial_job_idx)
            except BaseException:  # Ctrl-C too
                cancel(sweep)
                raise
            finally:
                del SlurmJob.results  # Job's own again
